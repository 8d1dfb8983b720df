"""Count the tokens of every document with a tokenizer file; without one they are estimated.

Guarantees: counts depend on the text and the tokenizer file alone; the file's digest is part of the facts' address.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.errors import RecipeError
from cluster.files import compression
from stages.core.stage import ShardStage, param


@dataclass(frozen=True, kw_only=True)
class CountTokens(ShardStage):
    """Reads text / Writes the number of tokens, special tokens excluded / Drops nothing."""

    tokenizer: str = param("", "tokenizer.json", fact=True)

    use: ClassVar[str] = "count_tokens"
    hidden: ClassVar[bool] = True
    schema: ClassVar[pa.Schema] = pa.schema([("num_tokens", pa.int64())])

    def model_digest(self) -> str:
        return digest_of(self.tokenizer)

    def annotate(self, documents: pa.Table) -> pa.Table:
        found = counts(self.tokenizer, documents.column("text").to_pylist())
        return pa.table([pa.array(found)], schema=self.schema)


def counts(tokenizer: str, texts: list[str]) -> npt.NDArray[np.int64]:
    """Return the number of tokens of each text by a tokenizer file, special tokens excluded, (texts,)."""
    encoded = _load(storage.absolute(tokenizer)).encode_batch_fast(texts, add_special_tokens=False)
    return np.fromiter((len(e.ids) for e in encoded), np.int64, len(texts))


def digest_of(path: str) -> str:
    """Return the digest of a tokenizer file. Raises RecipeError where there is none."""
    return _digest(storage.absolute(path))


@functools.lru_cache(maxsize=4)
def _digest(path: str) -> str:
    try:
        return hashlib.sha256(storage.read_bytes(path)).hexdigest()
    except FileNotFoundError:
        raise RecipeError(f"tokenizer must be a tokenizer.json file, {path} does not exist.") from None


@functools.lru_cache(maxsize=2)
def _load(path: str) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise RecipeError(
            "tokenizer needs the package tokenizers: pip install 'winnow-mix[semantic]', or leave it out "
            "for an estimate."
        ) from None
    try:
        return Tokenizer.from_buffer(compression.read_all(path))
    except OSError as error:
        raise RecipeError(f"tokenizer: {path} cannot be read ({error.strerror or error}).") from error
    except Exception as error:  # tokenizers raises nothing more special
        raise RecipeError(f"tokenizer: {path} is no whole tokenizer.json ({error}). Get the file again.") from error
