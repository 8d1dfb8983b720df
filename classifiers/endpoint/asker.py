"""`Asker`: a model with its prompt and parameters. What it is asked of a text follows from it and the text alone.

Guarantees: `digest` names everything that an answer may depend on, and nothing of where the model is served; the tokens
of a question are never more than `reserve` says, for tokenizers of bytes and a chat template of `TEMPLATE` tokens.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from classifiers.endpoint.prompt import Prompt
from cluster.errors import RecipeError
from cluster.redaction import names_secret

JSON_SCHEMA, OBJECT_BY_SCHEMA, JSON_OBJECT, TEXT = "json_schema", "json_object_schema", "json_object", "none"
AUTO = "auto"  # the first of the four that a server takes
MODES = (JSON_SCHEMA, OBJECT_BY_SCHEMA, JSON_OBJECT, TEXT)
TEMPLATE = 256  # tokens that a chat template may add to the bytes of the messages
RETRIED = 1000  # added to the seed of a question that is asked again


@dataclass(frozen=True, kw_only=True)
class Asker:
    """A model, what it is told and how it samples."""

    model: str
    prompt: Prompt
    temperature: float = 0.0
    max_tokens: int = 256
    seed: int = 0
    structured: str = AUTO
    extra: tuple[str, ...] = ()  # KEY=JSON, further members of the request

    def digest(self) -> str:
        """Return the digest of model, prompt and parameters, which names the folder of the answers."""
        made = (self.model, self.prompt.digest(), self.temperature, self.max_tokens, self.seed, self.structured)
        return hashlib.sha256(repr((made, self.extra)).encode()).hexdigest()[:16]

    def described(self) -> dict[str, Any]:
        """Return model, prompt and parameters for people."""
        told = {"model": self.model, "prompt": self.prompt.name, "prompt_digest": self.prompt.digest()}
        sampling = {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed}
        return {**told, **sampling, "structured": self.structured, "extra": list(self.extra)}

    @property
    def modes(self) -> tuple[str, ...]:
        """The ways of asking for the form of an answer, in the order in which they are tried."""
        if self.prompt.plain:
            return (TEXT,)
        return MODES if self.structured == AUTO else (self.structured,)

    def reserve(self, text: str) -> tuple[int, int]:
        """Return the most tokens that one question about a text can take, and that its answer can have."""
        return self.most_tokens(len(text.encode())), self.max_tokens

    def most_tokens(self, text_bytes: int) -> int:
        """Return the most tokens of a question about a text of so many bytes, cut already."""
        return self._told + text_bytes

    @functools.cached_property
    def _told(self) -> int:
        """The most tokens of a question besides the text."""
        told = len(self.prompt.system.encode()) + len(self.prompt.user.encode()) + TEMPLATE
        return told if self.prompt.plain else told + len(orjson.dumps(self.prompt.schema))

    def body(self, text: str, *, mode: str, vote: int = 0, attempt: int = 0) -> bytes:
        """Return the body of a request about a text that was cut."""
        found: dict[str, Any] = {
            "model": self.model,
            "messages": self.prompt.messages(text),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed + vote + RETRIED * attempt,
        }
        if mode == JSON_SCHEMA:
            schema = {"name": "answer", "strict": True, "schema": self.prompt.schema}
            found["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif mode == OBJECT_BY_SCHEMA:  # as llama-cpp-python has it
            found["response_format"] = {"type": "json_object", "schema": self.prompt.schema}
        elif mode == JSON_OBJECT:
            found["response_format"] = {"type": "json_object"}
        for key, value in pairs(self.extra):
            found.pop(key, None)
            if value is not None:
                found[key] = value
        return orjson.dumps(found)


def pairs(extra: Iterable[str]) -> list[tuple[str, Any]]:
    """Return (key, value) of KEY=JSON texts; null takes a member out of the request. Raises RecipeError.

    >>> pairs(["top_k=20", "seed=null"])
    [('top_k', 20), ('seed', None)]
    """
    found = []
    for text in extra:
        key, sign, value = text.partition("=")
        if names_secret(key.strip()):
            raise RecipeError(
                f"extra must hold no secret, and {key.strip()!r} looks like one; its value is not shown. API keys are "
                "read from the environment alone: name the variable in key_env."
            )
        try:
            found.append((key, orjson.loads(value)))
        except orjson.JSONDecodeError:
            sign = ""
        if not sign or not key or key in ("model", "messages", "response_format", "stream"):
            raise RecipeError(
                f"extra must be KEY=JSON, such as top_k=20, and not model, messages, response_format or stream; "
                f"got {text!r}."
            )
    return found
