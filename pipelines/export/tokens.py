"""Texts to tokens, in batches, with the `tokenizers` library.

Guarantees: a text gives the tokens that the tokenizer gives for it alone, whatever else is in the batch. Text that
spells a special token is text: a page cannot end its document or begin another. Truncation and padding that a
tokenizer.json asks for are switched off. Memory: a batch of `BATCH_BYTES` of text, about 100 bytes a token inside the
library; a text longer than `LONGEST_PIECE` is tokenised in pieces, cut before a blank between two words.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from cluster import storage
from cluster.errors import RecipeError
from cluster.files import compression
from cluster.options import available_cores
from pipelines.export.settings import Tokens

I64 = npt.NDArray[np.int64]
BATCH_BYTES = 2 << 20
LONGEST_PIECE = 8 << 20  # characters
SPACE = " "
ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "<|endoftext_R|>", "[EOS]", "<EOS>")
FILLS = ("<|padding|>", "<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<PAD>", "<|pad|>")
CONFIGS = ("tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class TokenizerFiles:
    """A tokenizer as bytes. special: eos_token, bos_token and pad_token, where the files beside it name them."""

    name: str
    json: bytes
    special: dict[str, str]

    @functools.cached_property
    def sha256(self) -> str:
        """The digest of tokenizer.json."""
        return hashlib.sha256(self.json).hexdigest()


def find_tokenizer(name: str) -> TokenizerFiles:
    """Return a tokenizer: a tokenizer.json, a folder with one, or the id of a repository on the Hub.

    Raises RecipeError where it is none of them.
    """
    place = name.rstrip("/")
    shown = place.rpartition("/")[2]  # the same on every machine
    if storage.exists(storage.join(place, "tokenizer.json")):
        beside = {config: storage.join(place, config) for config in CONFIGS}
        return _read(
            shown, storage.join(place, "tokenizer.json"), {c: p for c, p in beside.items() if storage.exists(p)}
        )
    if storage.exists(place):
        return _read(shown, place, {})
    if place.count("/") > 1 or place.endswith(".json") or "://" in place:
        raise RecipeError(f"--tokenizer: {name} does not exist. Name a tokenizer.json, a folder with one, or a Hub id.")
    return _from_hub(place)


def _read(name: str, path: str, beside: dict[str, str]) -> TokenizerFiles:
    special: dict[str, str] = {}
    for config in beside.values():
        try:
            found = orjson.loads(storage.read_bytes(config))
        except orjson.JSONDecodeError as error:
            raise RecipeError(f"--tokenizer: {config} is no JSON ({error}). Get the file again.") from None
        for key in ("eos_token", "bos_token", "pad_token"):
            value = found.get(key) if isinstance(found, dict) else None
            value = value.get("content") if isinstance(value, dict) else value
            if isinstance(value, str):
                special.setdefault(key, value)
    return TokenizerFiles(name, compression.read_all(path), special)


def _from_hub(repository: str) -> TokenizerFiles:
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError:
        raise RecipeError(
            f"--tokenizer {repository}: there is no such file, and a Hub id needs huggingface_hub: "
            "pip install 'winnow-mix[export]'."
        ) from None
    paths = {}
    for file in ("tokenizer.json", *CONFIGS):
        try:
            paths[file] = huggingface_hub.hf_hub_download(repository, file)
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            if file == "tokenizer.json":
                raise RecipeError(
                    f"--tokenizer {repository}: there is no such file, and the Hub gives no tokenizer.json for it "
                    f"({type(error).__name__}). Name a tokenizer.json, a folder with one, or a Hub id."
                ) from None
    return _read(repository, paths.pop("tokenizer.json"), paths)


@functools.lru_cache(maxsize=2)
def load_tokenizer(path: str) -> Any:
    """Return the tokenizer of a tokenizer.json, ready for documents."""
    return tokenizer_of(compression.read_all(path), path)


def tokenizer_of(data: bytes, name: str) -> Any:
    """Return the tokenizer of the bytes of a tokenizer.json, ready for documents. Raises RecipeError."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise RecipeError("an export needs the package tokenizers: pip install 'winnow-mix[export]'.") from None
    try:
        tokenizer = Tokenizer.from_buffer(data)
    except Exception as error:  # tokenizers raises nothing more special
        raise RecipeError(f"--tokenizer: {name} is no whole tokenizer.json ({error}). Get the file again.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def vocabulary_size(tokenizer: Any) -> int:
    """Return the largest id of a tokenizer, plus one: ids may have gaps."""
    return int(max(tokenizer.get_vocab(with_added_tokens=True).values())) + 1


def special_id(tokenizer: Any, flag: str, given: str | None) -> int | None:
    """Return the id that a flag names: a token, or a number. "none": there is none. Raises RecipeError."""
    if given is None or given == "none":
        return None
    found = tokenizer.token_to_id(given)
    if found is None and given.isdecimal() and int(given) < vocabulary_size(tokenizer):
        found = int(given)
    if found is None:
        raise RecipeError(f"{flag}: the tokenizer has no token {given!r}. Give one of its tokens, an id, or `none`.")
    return int(found)


def end_token(tokenizer: Any, files: TokenizerFiles, given: str | None) -> int | None:
    """Return the id of the token that ends a document: the one given, else the tokenizer's own. Raises RecipeError."""
    if given not in (None, "auto"):
        return special_id(tokenizer, "--eod", given)
    for name in (files.special.get("eos_token"), *ENDS):
        if name is not None and tokenizer.token_to_id(name) is not None:
            return int(tokenizer.token_to_id(name))
    raise RecipeError(
        f"--eod: {files.name} names no token that ends a document. Give one of its tokens "
        "(--eod '<|endoftext|>'), an id, or --eod none."
    )


def fill_token(tokenizer: Any, files: TokenizerFiles, given: str | None, eod: int | None) -> int:
    """Return the id that fills a window: the one given, else the tokenizer's own, else the end token, else 0."""
    if given not in (None, "auto"):
        found = special_id(tokenizer, "--pad", given)
        return 0 if found is None else found
    for name in (files.special.get("pad_token"), *FILLS):
        if name is not None and tokenizer.token_to_id(name) is not None:
            return int(tokenizer.token_to_id(name))
    return 0 if eod is None else eod


def choose_threads(workers: int) -> None:
    """Let a batch use all cores where tasks alone do not: the library takes one thread per core, or the caller's."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if workers < available_cores() else "false"


def encode(tokenizer: Any, texts: Sequence[str], dtype: str) -> tuple[Tokens, I64]:
    """Return the tokens of texts one after the other, (tokens,), and how many each has, (texts,)."""
    pieces = [list(_pieces(text)) for text in texts]
    flat = [piece for each in pieces for piece in each]
    found = tokenizer.encode_batch_fast(flat, add_special_tokens=False)
    ids = [one.ids for one in found]
    sizes = np.fromiter(map(len, ids), np.int64, len(ids))
    tokens = np.fromiter(itertools.chain.from_iterable(ids), np.uint32, int(sizes.sum())).astype(dtype)
    if len(flat) > len(texts):
        counts = np.fromiter(map(len, pieces), np.int64, len(pieces))
        sizes = np.add.reduceat(sizes, np.cumsum(counts) - counts)
    return tokens, sizes


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > LONGEST_PIECE:
        stop = _boundary(text, start + LONGEST_PIECE)
        yield text[start:stop]
        start = stop
    yield text[start:] if start else text


def _boundary(text: str, near: int) -> int:
    """Return the last place, at most 64k characters before `near`, where a single blank parts two words."""
    for at in range(near, near - (64 << 10), -1):
        if text[at] == SPACE and text[at - 1].isalnum() and text[at + 1 : at + 2].isalnum():
            return at
    return near


def with_ends(tokens: Tokens, sizes: I64, bos: int | None, eod: int | None) -> tuple[Tokens, I64]:
    """Return documents with the tokens that begin and end each of them."""
    extra = (bos is not None) + (eod is not None)
    if not extra:
        return tokens, sizes
    longer = sizes + extra
    stops = np.cumsum(longer)
    out = np.empty(int(stops[-1]) if len(stops) else 0, tokens.dtype)
    mine = np.ones(len(out), np.bool_)
    for at, token in ((stops - longer, bos), (stops - 1, eod)):
        if token is not None:
            out[at] = token
            mine[at] = False
    out[mine] = tokens
    return out, longer
