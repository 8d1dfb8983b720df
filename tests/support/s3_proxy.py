"""An HTTP proxy before an S3 server, which fails, delays, cuts bodies short and resets connections where it is told.

A fault is decided by the number of the request, counted from 0, and comes before the request reaches the server, or
after the server has done it and before the client hears of it. Guarantees: a request without a fault is passed on as
it is; requests are answered one at a time, so that their numbers are the same in every run of the same client.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("500", "503", "delay", "cut", "reset", "done, then reset", "done, then 500")
DELAY = 0.02  # seconds: order and timing of answers change, nothing waits for it
ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>made up by a test</Message>'
    "<RequestId>0</RequestId></Error>"
)
CODES = {"500": "InternalError", "503": "SlowDown"}
Fault = Callable[[int, str, str], str]  # number, method, path with query -> one of FAULTS, or ""


class Proxy:
    """The proxy: `url`, `count` of requests so far, and what it does to the next ones (`fault`)."""

    def __init__(self, host: str, port: int) -> None:
        self.server = (host, port)
        self.count = 0
        self.seen: list[str] = []
        self.fault: Fault = lambda number, method, path: ""
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Proxy]:
        """Serve until the block ends."""
        self._thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            self._http.server_close()
            self._thread.join()

    @contextlib.contextmanager
    def faulty(self, fault: Fault) -> Iterator[None]:
        """Count from 0 and do this to requests until the block ends."""
        self.count, self.seen, self.fault = 0, [], fault
        try:
            yield
        finally:
            self.fault = lambda number, method, path: ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.proxy.lock:
            number = self.proxy.count
            self.proxy.count += 1
            self.proxy.seen.append(f"{self.command} {self.path}")
            fault = self.proxy.fault(number, self.command, self.path)
            self._answer(fault, body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _handle

    def _answer(self, fault: str, body: bytes) -> None:
        if fault == "reset":
            self._reset()
            return
        if fault in ("500", "503"):
            self._send(int(fault), {"Content-Type": "application/xml"}, ERROR.format(code=CODES[fault]).encode())
            return
        status, headers, data = self._asked(body)
        if fault == "delay":
            time.sleep(DELAY)
        if fault == "done, then reset":
            self._reset()
        elif fault == "done, then 500":
            self._send(500, {"Content-Type": "application/xml"}, ERROR.format(code="InternalError").encode())
        else:
            self._send(status, headers, data, cut=fault == "cut")

    def _asked(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Return what the server answers."""
        connection = http.client.HTTPConnection(*self.proxy.server)
        try:
            connection.request(self.command, self.path, body=body or None, headers=dict(self.headers.items()))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _send(self, status: int, headers: dict[str, str], data: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        kept = {k: v for k, v in headers.items() if k.lower() not in ("transfer-encoding", "connection")}
        length = kept.pop(next((k for k in kept if k.lower() == "content-length"), ""), str(len(data)))
        for name, value in kept.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(data[: len(data) // 2] if cut else data)
        self.wfile.flush()
        if cut:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _reset(self) -> None:
        """Close the connection so that the client meets a reset, not an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
