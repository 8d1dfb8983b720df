"""One request to one server and what came of it: chat completions over aiohttp.

httpx takes six times the processor time (0.6 ms a request, 2026-11), too much for 2,000 requests a second. Guarantees:
every end of a request is one of five kinds; no message holds the API key, not even where a server echoes it; an answer
is read up to `LONGEST` bytes; no redirect is followed, so that a key reaches no other host.
"""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import re
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson

from classifiers.endpoint.answers import Tokens
from classifiers.endpoint.settings import Endpoint
from cluster.errors import BackendError
from cluster.redaction import hidden

MASK = "***"
CUT_OFF = "cut_off"  # the answer reached max_tokens
LONGEST = 8 << 20  # bytes of an answer
SHOWN = 300  # characters of what a server says that are shown
FREE = (429, 503, 529)  # nothing was done
FATAL = (*range(300, 400), 401, 402, 403, 404, 405, 407, 410)  # no request of this kind will be answered
Kind = Literal["answer", "refused", "failed", "unfit", "fatal"]
# answer: a completion. refused: nothing was done, may be asked again at no cost. failed: tokens may have been spent.
# unfit: the server does not take this request. fatal: it takes none.


@dataclass(frozen=True)
class Outcome:
    """What came of a request. reason: a word, why there is no answer; detail: what the server said, without the key."""

    kind: Kind
    reason: str = ""
    content: str = ""
    tokens: Tokens | None = None  # as the server counts them; None where it does not say
    wait: float | None = None  # seconds that it asks to be left alone
    detail: str = ""


class Client:
    """Sends requests; to be used as an asynchronous context manager."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._key = endpoint.key()
        self._echo = _echo(self._key) if self._key else None
        self._session: Any = None

    async def __aenter__(self) -> Client:
        try:
            import aiohttp
        except ImportError:
            raise BackendError(
                "asking an endpoint needs aiohttp. Install the extra: pip install 'winnow-mix[llm]'."
            ) from None
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        seconds = self._endpoint.timeout
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, 30.0)),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._proxies = [_proxy(self._endpoint.address(n)) for n in range(len(self._endpoint.base_urls))]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(self, server: int, body: bytes) -> Outcome:
        """Send one request and return what came of it."""
        import aiohttp

        try:
            address = self._endpoint.address(server)
            async with self._session.post(
                address, data=body, allow_redirects=False, proxy=self._proxies[server]
            ) as response:
                found = await _read(response.content)
                return self._outcome(response.status, response.headers, found)
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
            return Outcome("refused", "unreachable", detail=self.shown(str(error)))
        except TimeoutError:
            return Outcome("failed", "timeout")
        except aiohttp.ClientPayloadError as error:
            return Outcome("failed", "half_answer", detail=self.shown(str(error)))
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            return Outcome("failed", "disconnected", detail=self.shown(str(error)))

    def _outcome(self, status: int, headers: Any, found: bytes | None) -> Outcome:
        if found is None:
            return Outcome("failed", "bad_response", detail=f"more than {LONGEST:,} bytes")
        if status == 200:
            return _completion(found, self.clean)
        detail = self.shown(f"HTTP {status} {found.decode(errors='replace')}")
        if status in FREE:
            return Outcome("refused", "refused", wait=_seconds(headers.get("Retry-After")), detail=detail)
        if status in FATAL:
            return Outcome("fatal", "refused_for_good", detail=detail)
        if (400 <= status < 500 and status != 408) or "response_format" in detail:
            return Outcome("unfit", "bad_request", detail=detail)
        return Outcome("failed", "timeout" if status == 408 else "server_error", detail=detail)

    def clean(self, text: str) -> str:
        """Return a text without the API key, should a server echo it."""
        return self._echo.sub(MASK, text) if self._echo else text

    def shown(self, text: str) -> str:
        """Return what a server or library said, short and without secrets."""
        return hidden(self.clean(" ".join(text.split())))[:SHOWN]


def _echo(key: str) -> re.Pattern[str]:
    r"""Return what matches a key, each character as it is or as JSON may write it, within JSON too (\u0061, \/)."""
    return re.compile("".join(map(_written, key)))


def _written(char: str) -> str:
    units = memoryview(char.encode("utf-16-le", "surrogatepass")).cast("H")
    code = r"\\+".join(f"u(?i:{unit:04x})" for unit in units)
    return r"\\+" if char == "\\" else rf"\\*(?:{re.escape(char)}|{code})"


def _proxy(address: str) -> str | None:
    """Return the proxy that the environment names for an address; None for none."""
    parts = urlsplit(address)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)


async def _read(stream: Any) -> bytes | None:
    """Return the body of a response; None where it is too long."""
    parts, size = [], 0
    async for part in stream.iter_any():
        parts.append(part)
        size += len(part)
        if size > LONGEST:
            return None
    return b"".join(parts)


def _completion(found: bytes, clean: Callable[[str], str]) -> Outcome:
    """Return the completion that a body holds, or that it holds none."""
    try:
        data = orjson.loads(found)
        message = data["choices"][0]["message"]
        tokens = _tokens(data.get("usage"))
    except (ValueError, LookupError, TypeError, AttributeError):
        return Outcome("failed", "bad_response", detail="no completion in a 200 response")
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, str) or not content.strip():
        return Outcome("failed", "no_content", tokens=tokens)
    if data["choices"][0].get("finish_reason") == "length":
        return Outcome("failed", CUT_OFF, tokens=tokens)
    return Outcome("answer", content=clean(content), tokens=tokens)


def _tokens(usage: Any) -> Tokens | None:
    if not isinstance(usage, dict):
        return None
    counts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
    whole = [count for count in counts if isinstance(count, int) and not isinstance(count, bool)]
    return Tokens(*whole) if len(whole) == 2 and all(0 <= count < 1 << 40 for count in whole) else None


def _seconds(text: str | None) -> float | None:
    """Return the seconds of a Retry-After: a number, or a date."""
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.UTC)
    return max(0.0, (date - datetime.datetime.now(datetime.UTC)).total_seconds())
