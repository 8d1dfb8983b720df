"""A small n-gram language model in ARPA's format."""

from __future__ import annotations

from pathlib import Path

UNIGRAMS = {"<unk>": (-3.0, 0.0), "<s>": (-99.0, -0.5), "</s>": (-1.0, 0.0), "the": (-0.7, -0.3), "cat": (-1.2, -0.2)}
UNIGRAMS |= {"dog": (-1.4, -0.1), "sat": (-1.6, -0.4)}
BIGRAMS = {("<s>", "the"): -0.2, ("the", "cat"): -0.4, ("cat", "sat"): -0.3, ("sat", "</s>"): -0.1}


def arpa(path: Path, shift: float = 0.0) -> str:
    """Write a model of two-grams; shift makes every word more or less likely."""
    lines = ["\\data\\", f"ngram 1={len(UNIGRAMS)}", f"ngram 2={len(BIGRAMS)}", "", "\\1-grams:"]
    lines += [f"{p + (shift if p > -9 else 0)}\t{word}\t{backoff}" for word, (p, backoff) in UNIGRAMS.items()]
    lines += ["", "\\2-grams:", *(f"{p}\t{a} {b}" for (a, b), p in BIGRAMS.items()), "", "\\end\\", ""]
    path.write_text("\n".join(lines))
    return str(path)
