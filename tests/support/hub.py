"""A stand-in for the API of the Hugging Face Hub: repositories of datasets, LFS uploads, commits, in memory."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of-the-test"
LARGE = 2000  # bytes from which on a file goes by LFS


@dataclass
class Hub:
    """What the stand-in holds. fail_commits: numbers of commits, counted from 0, that it refuses with 503."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    commits: list[list[str]] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    created: list[dict[str, Any]] = field(default_factory=list)
    fail_commits: set[int] = field(default_factory=set)
    tries: int = 0

    def info(self, path: str) -> dict[str, Any]:
        """Return a file as the API lists it."""
        data = self.files[path]
        oid = hashlib.sha1(b"blob %d\x00" % len(data) + data).hexdigest()
        found: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": oid}
        if len(data) >= LARGE:
            found["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return found


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, data: Any, status: int = 200) -> None:
        text = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _allowed(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self._answer({"error": "Invalid credentials"}, 401)
        return False

    def do_GET(self) -> None:
        if self._allowed():
            self._answer([self.hub.info(path) for path in sorted(self.hub.files)])

    def do_PUT(self) -> None:
        data = self._body()
        assert self.path == f"/blob/{hashlib.sha256(data).hexdigest()}"
        self.hub.blobs[self.path.rpartition("/")[2]] = data
        self.hub.uploads.append(self.path)
        self._answer({})

    def do_POST(self) -> None:
        body = self._body()
        if not self._allowed():
            return
        if self.path == "/api/repos/create":
            self.hub.created.append(json.loads(body))
            self._answer({"url": f"{self.hub.address}/datasets/me/mix", "id": "1"})
        elif self.path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif "/paths-info/" in self.path:
            self._answer([self.hub.info(p) for p in _paths(body) if p in self.hub.files])
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [(f["path"], "lfs" if f["size"] >= LARGE else "regular") for f in files]
            self._answer({"files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes]})
        elif self.path.endswith("/info/lfs/objects/batch"):
            self._answer({"transfer": "basic", "objects": [self._object(o) for o in json.loads(body)["objects"]]})
        elif "/commit/" in self.path:
            self._commit([json.loads(line) for line in body.splitlines()])
        else:
            self._answer({"error": f"no such path {self.path}"}, 404)

    def _object(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if wanted["oid"] in self.hub.blobs:
            return wanted
        return {**wanted, "actions": {"upload": {"href": f"{self.hub.address}/blob/{wanted['oid']}", "header": {}}}}

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        self.hub.tries += 1
        if self.hub.tries - 1 in self.hub.fail_commits:
            self._answer({"error": "try later"}, 403)
            return
        named = []
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.hub.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.hub.files[value["path"]] = self.hub.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                del self.hub.files[value["path"]]
            if line["key"] != "header":
                named.append(value["path"])
        self.hub.commits.append(named)
        number = len(self.hub.commits)
        self._answer(
            {"commitUrl": f"{self.hub.address}/datasets/me/mix/commit/{number}", "commitOid": f"{number:040x}"}
        )


def _paths(body: bytes) -> list[str]:
    """Return the paths that a request asks about, given as JSON or as a form."""
    if body.startswith(b"{"):
        return list(json.loads(body)["paths"])
    from urllib.parse import parse_qs

    return parse_qs(re.sub(rb"\s", b"", body).decode()).get("paths", [])


@contextlib.contextmanager
def hub() -> Iterator[Hub]:
    """Serve a stand-in of the Hub on this machine."""
    found = Hub()
    handler = type("Handler", (_Handler,), {"hub": found})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    found.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
