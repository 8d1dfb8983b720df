"""What an export is: the format, the window, how documents are packed, the tokens that end and fill.

Guarantees: values only; nothing is opened.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cluster.errors import RecipeError
from cluster.seed import DEFAULT_SEED

PACKS = ("concat", "best_fit", "none")
SPLITS = {"train": "part-", "holdout": "holdout-"}  # how the mix's files begin
SLICE_TOKENS = 8 << 20  # that are sorted and packed at once
LONGEST_WINDOW = 1 << 24
Tokens = npt.NDArray[np.unsignedinteger | np.signedinteger]


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format as its loader reads it.

    extra : tokens of a window beyond the sequence length. wide : dtype where two bytes are too few for the vocabulary.
    stream : whether a file may hold any number of tokens; else it is a chunk, loaded whole.
    """

    name: str
    suffix: str
    extra: int = 0
    wide: str = "uint32"
    stream: bool = True

    @property
    def shard_tokens(self) -> int:
        """Tokens of a file, unless the user says otherwise."""
        return (1 << 30) if self.stream else SLICE_TOKENS


FORMATS = {
    "megatron": Format(name="megatron", suffix=".bin", wide="int32"),  # its index has no code for uint32
    "nanotron": Format(name="nanotron", suffix=".ds", extra=1),  # the loader reads inputs and shifted labels at once
    "olmo": Format(name="olmo", suffix=".npy"),
    "mds": Format(name="mds", suffix=".mds", stream=False),
    "litdata": Format(name="litdata", suffix=".bin", wide="int32", stream=False),  # nor has torch's serialiser
    "hf": Format(name="hf", suffix=".parquet", stream=False),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a mix is exported.

    sequence_length : tokens that a model is trained on at once.
    pack : concat (documents one after the other, cut at windows), best_fit (documents are cut only where they are
    longer than a window, then fitted together), none (one after the other; in files of windows each by itself).
    eod, bos, pad : ids of the tokens that end and begin a document and fill a window; None: no such token.
    shard_tokens : about as many tokens to a file.
    """

    format: str
    sequence_length: int
    pack: str = "concat"
    eod: int | None = None
    bos: int | None = None
    pad: int = 0
    dtype: str = "uint16"
    seed: int = DEFAULT_SEED
    split: str = "train"
    shard_tokens: int = SLICE_TOKENS

    @property
    def kind(self) -> Format:
        return FORMATS[self.format]

    @property
    def window(self) -> int:
        """Tokens of a window in the files."""
        return self.sequence_length + self.kind.extra

    @property
    def fixed(self) -> bool:
        """Whether the files are made of windows of one size."""
        return self.pack == "best_fit" or (
            self.format != "megatron" and (self.pack == "concat" or not self.kind.stream)
        )

    @property
    def whole_documents(self) -> bool:
        """Whether documents stand in the files one after the other, and the loader cuts."""
        return self.pack == "none" and self.kind.stream

    @property
    def slice_tokens(self) -> int:
        """Tokens that are sorted and packed at once."""
        return min(SLICE_TOKENS, self.shard_tokens)


def check_settings(settings: Settings) -> None:
    """Raise RecipeError where a value is none that the export takes."""
    one_of("--pack", settings.pack, PACKS)
    one_of("--split", settings.split, SPLITS)
    if not 1 <= settings.sequence_length <= LONGEST_WINDOW:
        raise RecipeError(
            f"--sequence-length must be from 1 to {LONGEST_WINDOW:,} tokens, got {settings.sequence_length:,}."
        )
    if settings.shard_tokens < settings.window:
        raise RecipeError(
            f"--shard-tokens must be at least one window ({settings.window:,} tokens), got {settings.shard_tokens:,}."
        )


def one_of(flag: str, value: str, known: Collection[str]) -> None:
    """Raise RecipeError where a flag's value is not among those that are known."""
    if value not in known:
        raise RecipeError(f"{flag} must be one of {', '.join(known)}, got {value!r}.")


def dtype_of(vocabulary: int, kind: Format) -> str:
    """Return the dtype of tokens: two bytes where every id fits, else four.

    vocabulary : the largest id, plus one.

    >>> dtype_of(50257, FORMATS["olmo"]), dtype_of(1 << 16, FORMATS["olmo"]), dtype_of(128_256, FORMATS["megatron"])
    ('uint16', 'uint16', 'int32')
    """
    return "uint16" if vocabulary <= 1 << 16 else kind.wide
