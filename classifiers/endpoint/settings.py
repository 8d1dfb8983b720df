"""Where a model is served and how requests are sent: none of it changes what is asked.

Guarantees: an API key is read from the environment when a request is made and is part of no object, file or message.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from cluster.errors import RecipeError
from cluster.redaction import names_variable, secret_in

PATH = "/chat/completions"
NEED_KEY = "API keys are read from the environment alone: name the variable in key_env."


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Servers of one model and the manners of asking them.

    base_urls : such as http://node1:8000/v1; requests go to them in turn.
    key_env : environment variable that holds the API key; empty: no key is sent.
    concurrency : most requests that wait for an answer at one time, in one process.
    timeout : seconds for one request. patience : seconds without any answer, after which asking stops with an error.
    backoff : seconds that a server is first left alone after it refused; doubled by every refusal after that.
    """

    base_urls: tuple[str, ...]
    key_env: str = ""
    concurrency: int = 64
    timeout: float = 120.0
    patience: float = 600.0
    backoff: float = 1.0

    def __post_init__(self) -> None:
        if not self.base_urls:
            raise RecipeError("base_urls must name at least one server, such as http://localhost:8000/v1.")
        for url in self.base_urls:
            _check_url(url)
        if self.key_env and not names_variable(self.key_env):
            raise RecipeError(
                "key_env must be the name of an environment variable, such as OPENAI_API_KEY. What it is given looks "
                "like a key, so it is not shown: a key belongs into no recipe."
            )

    def key(self) -> str:
        """Return the API key, empty where none is sent. Raises RecipeError where the variable is not set."""
        if not self.key_env:
            return ""
        found = os.environ.get(self.key_env, "").strip()
        if not found:
            raise RecipeError(
                f"the environment variable {self.key_env} (key_env) is not set where requests are made. Set it there, "
                "on every worker; a key belongs into no recipe."
            )
        if any(ord(char) < 32 or ord(char) == 127 for char in found):
            raise RecipeError(
                f"the environment variable {self.key_env} (key_env) holds a line break or another control character, "
                "which no API key has. Set it to the key alone."
            )
        return found

    def address(self, server: int) -> str:
        """Return the URL that chat completions of one server are asked of."""
        return self.base_urls[server].rstrip("/") + PATH


def _check_url(url: str) -> None:
    """Raise RecipeError where a base URL is none, or holds a secret."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise RecipeError(f"base_urls must be URLs such as http://localhost:8000/v1, got {url!r}.")
    if found := secret_in(url):
        raise RecipeError(f"base_urls must hold no secret, and one holds {found}. {NEED_KEY}")
    if parts.query or parts.fragment:
        raise RecipeError(
            f"base_urls must end with a path, such as /v1, got one with ? or # ({parts.scheme}://{parts.hostname}). "
            f"{NEED_KEY}"
        )
