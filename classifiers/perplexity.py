"""Perplexity of texts under n-gram language models (KenLM, binary or ARPA), by the recipe of CCNet.

CCNet (Wenzek et al. 2020, arXiv:1911.00359, 3.4; its published code): a document is normalised, split into pieces by
SentencePiece and scored as one sentence; without SentencePiece every line is a sentence of words. Perplexity is 10 to
the power of -(log10 probability) / (tokens + 1 for each sentence's end).

Guarantees: the numbers of CCNet's code, before its rounding to one digit; a text depends on no other. A model is loaded
once per process and mapped, so that processes share its pages. Speed is nearly that of the packages kenlm and
sentencepiece called once per document: 1.3 times CCNet's code (5 MB/s on a core, 2026-11), as only the normalisation is
faster.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classifiers import models
from classifiers.base import F64
from classifiers.loaded_once import loaded_once
from cluster.errors import BackendError, RecipeError

LM_NAMES = (".arpa.bin", ".arpa", ".arpa.gz", ".binary", ".bin")
SP_NAMES = (".sp.model", ".spm")
# What CCNet writes for marks of other scripts (its full-width digit one never gets there: digits are 0 before).
_MARKS = {
    **dict.fromkeys("\u201e\u201d\u201c\xab\xbb\u300d\u300c\u300a\u300b", '"'),
    **dict.fromkeys("\uff0c\u3001", ","),
    **dict.fromkeys("\xb4\u2019", "'"),
    **dict.fromkeys("\u2236\uff1a", ":"),
    **dict.fromkeys("\u2013\u2501\u25ba", "-"),
    "\u3002": ".",
    "\uff1f": "?",
    "\uff01": "!",
    "\uff08": "(",
    "\uff09": ")",
    "\uff1b": ";",
    "\u2014": " - ",
    "\uff0e": ". ",
    "\uff5e": "~",
    "\u2026": "...",
    "\u3008": "<",
    "\u3009": ">",
    "\u3010": "[",
    "\u3011": "]",
    "\uff05": "%",
}
_TABLE = str.maketrans({**_MARKS, **{chr(code): None for code in (*range(32), *range(127, 160))}})
_DIGIT = re.compile(r"\d")
_ACCENTS = re.compile("[^\x00-\x7f]")


def normalise(text: str) -> str:
    """Return a text as CCNet normalises it: stripped, lower case, no accents, digits as 0, plain marks, no controls.

    >>> normalise(" Caf\xe9\u2026 12\u2014\u201cOK\u201d\\n")
    'cafe... 00 - "ok"'
    """
    text = text.strip().lower()
    if _ACCENTS.search(text):
        decomposed = unicodedata.normalize("NFD", text)
        marks = {c for c in set(decomposed) if unicodedata.category(c) == "Mn"}
        text = decomposed.translate(dict.fromkeys(map(ord, marks))) if marks else decomposed
    return _DIGIT.sub("0", text).translate(_TABLE)


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """The files of one language: an n-gram model, and the SentencePiece model that it was trained with, or "" ."""

    lm: str
    pieces: str = ""

    def digest(self) -> str:
        """Return the digests of both files."""
        return " ".join(models.file_digest(models.resolve(path)) for path in (self.lm, self.pieces) if path)


def in_folder(folder: str) -> dict[str, ModelFiles]:
    """Return the models of a folder in CCNet's layout by language code: `en.arpa.bin` and `en.sp.model`."""
    found: dict[str, ModelFiles] = {}
    files = sorted(Path(folder).iterdir())
    pieces = {code: str(file) for file in files if (code := _code(file.name, SP_NAMES))}
    for file in files:
        code = _code(file.name, LM_NAMES)
        if code and code not in found:
            found[code] = ModelFiles(lm=str(file), pieces=pieces.get(code, ""))
    return found


def _code(name: str, endings: Iterable[str]) -> str:
    return next((name.removesuffix(end) for end in endings if name.endswith(end)), "")


class Perplexity:
    """A loaded pair of models."""

    def __init__(self, files: ModelFiles, *, normalised: bool) -> None:
        self._lm = _language_model(files.lm)
        self._pieces = _pieces(files.pieces) if files.pieces else None
        self._normalise = normalised

    def score(self, texts: list[str]) -> F64:
        """Return the perplexity of each text, (texts,); NaN for one that nothing is left of."""
        score = self._of_pieces if self._pieces is not None else self._of_lines
        return np.fromiter(map(score, texts), np.float64, len(texts))

    def _of_pieces(self, text: str) -> float:
        pieces = self._pieces.encode_as_pieces(normalise(text) if self._normalise else text)  # type: ignore[union-attr]
        line = " ".join(pieces)
        return _perplexity(float(self._lm.score(line)), len(line.split()) + 1) if pieces else float("nan")

    def _of_lines(self, text: str) -> float:
        total, length = 0.0, 0
        for line in text.split("\n"):
            plain = normalise(line) if self._normalise else line
            total += float(self._lm.score(plain))
            length += len(plain.split()) + 1
        return _perplexity(total, length) if text.strip() else float("nan")


def _perplexity(log10: float, length: int) -> float:
    return float(10.0 ** (-log10 / length))


def load(files: ModelFiles, *, normalised: bool = True) -> Perplexity:
    """Return the models of a language, loaded once per process as long as the files stay the same.

    Raises
    ------
    RecipeError
        when a file is missing or no such model.
    BackendError
        when the extra is missing.
    """
    stamps = tuple(models.stamp(models.resolve(path)) for path in (files.lm, files.pieces) if path)
    return _load(files, normalised, stamps)


@loaded_once(16)
def _load(files: ModelFiles, normalised: bool, stamps: tuple[tuple[int, int], ...]) -> Perplexity:
    return Perplexity(files, normalised=normalised)


def _language_model(path: str) -> Any:
    try:
        import kenlm
    except ImportError:
        raise _missing("ufal-kenlm (or kenlm)") from None
    local = models.resolve(path)
    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    try:
        return kenlm.Model(local, config)
    except (OSError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or ["unknown"])[0]
        raise RecipeError(f"{path} is no KenLM model, binary or ARPA: {reason}.") from None


def _pieces(path: str) -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise _missing("sentencepiece") from None
    try:
        return sentencepiece.SentencePieceProcessor(model_file=models.resolve(path))
    except (OSError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or ["unknown"])[0]
        raise RecipeError(f"{path} is no SentencePiece model: {reason}.") from None


def _missing(package: str) -> BackendError:
    return BackendError(
        f"perplexity needs the package {package}. Install the extra: pip install 'winnow-mix[perplexity]'."
    )
