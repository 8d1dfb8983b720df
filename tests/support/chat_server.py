"""A server of chat completions that does what a script says and counts what it is asked; runs in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

Request = dict[str, Any]


@dataclass(frozen=True)
class Say:
    """What the server does with one request. cut: bytes of the body after which it breaks off; hang: no answer."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    cut: int | None = None
    hang: bool = False
    drop: bool = False


def completion(content: str | None, *, asked: int = 100, answered: int = 10, usage: bool = True) -> Say:
    """Return a completion with this content."""
    message = {"role": "assistant", "content": content}
    found: dict[str, Any] = {"object": "chat.completion", "model": "m", "choices": [{"index": 0, "message": message}]}
    if usage:
        found["usage"] = {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}
    return Say(json.dumps(found).encode())


def verdict(score: float, **more: Any) -> Say:
    return completion(json.dumps({"reason": "so it is", "score": score}), **more)


def refuse(status: int, text: str = "no", **headers: str) -> Say:
    body = json.dumps({"error": {"message": text}}).encode()
    return Say(body, status=status, headers=tuple((k.replace("_", "-"), v) for k, v in headers.items()))


def user_text(request: Request) -> str:
    """Return the user's message."""
    return str(request["messages"][-1]["content"])


def hashed_score(request: Request, most: int = 5) -> int:
    """Return a score that depends on the user's message and the seed alone."""
    told = f"{user_text(request)} {request.get('seed')} {request['model']}"
    return hashlib.sha256(told.encode()).digest()[0] % (most + 1)


@dataclass
class ChatServer:
    """Use as a context manager. script: called with each request and how often the same one came before."""

    script: Callable[[Request, int], Say]
    seen: Counter[str] = field(default_factory=Counter)  # requests by their body
    answered: Counter[str] = field(default_factory=Counter)  # of those that a whole answer was sent for
    headers: list[dict[str, str]] = field(default_factory=list)
    tokens: int = 0  # of the answers sent
    at_once: int = 0
    most_at_once: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> list[Request]:
        return [json.loads(body) for body in self.seen]

    def __enter__(self) -> ChatServer:
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        started.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the port and every connection."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(10)

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._stopping = asyncio.Event()
        self._connections: set[asyncio.Transport] = set()

        async def main() -> None:
            server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, backlog=1024)
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            await self._stopping.wait()
            server.close()
            for connection in list(self._connections):
                connection.abort()
            await asyncio.sleep(0)

        try:
            self._loop.run_until_complete(main())
        finally:
            self._loop.close()


class _Connection(asyncio.Protocol):
    """One connection: requests in, what the script says out."""

    def __init__(self, server: ChatServer) -> None:
        self.server, self.data = server, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server._connections.add(transport)
        self.server.at_once += 1
        self.server.most_at_once = max(self.server.at_once, self.server.most_at_once)

    def connection_lost(self, error: Exception | None) -> None:
        self.server._connections.discard(self.transport)
        self.server.at_once -= 1

    def data_received(self, data: bytes) -> None:
        self.data += data
        while b"\r\n\r\n" in self.data:
            head, _, rest = self.data.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
            length = int(headers.get("content-length", "0"))
            if len(rest) < length:
                return
            self.data = rest[length:]
            self._answer(headers, rest[:length])

    def _answer(self, headers: dict[str, str], body: bytes) -> None:
        server, key = self.server, body.decode()
        server.headers.append(headers)
        say = server.script(json.loads(body), server.seen[key])
        server.seen[key] += 1
        if say.hang:
            return
        if say.drop:
            self.transport.abort()
            return
        if say.status == 200 and say.cut is None:
            server.answered[key] += 1
            with contextlib.suppress(ValueError, AttributeError):
                server.tokens += json.loads(say.body).get("usage", {}).get("total_tokens", 0)
        extra = "".join(f"{name}: {value}\r\n" for name, value in say.headers)
        kind = f"Content-Type: application/json\r\nContent-Length: {len(say.body)}\r\n"
        start = f"HTTP/1.1 {say.status} X\r\n{kind}{extra}\r\n"
        self.transport.write(start.encode() + say.body[: say.cut])
        if say.cut is not None:
            self.transport.close()
