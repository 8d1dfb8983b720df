"""fastText models of every kind, trained in a second each, and texts that try them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fasttext
import pyarrow as pa

ALPHABETS = ("abcdefghij", "klmnopqrst", "àéîõüßçñ", "абвгдежз", "漢字仮名交文", "🙂🙃🚀x")
VARIANTS: dict[str, dict[str, Any]] = {
    "softmax": {"loss": "softmax", "wordNgrams": 2},
    "softmax-wide": {"loss": "softmax", "dim": 24, "wordNgrams": 3, "labels": 2},  # rows are projected
    "tree": {"loss": "hs", "minn": 2, "maxn": 4},
    "tree-words": {"loss": "hs", "wordNgrams": 3},
    "ova": {"loss": "ova", "minn": 1, "maxn": 3, "wordNgrams": 2},
    "negative": {"loss": "ns", "neg": 3},
    "plain": {"loss": "softmax", "bucket": 0},
    "quantised": {"loss": "softmax", "wordNgrams": 2, "quantise": {"qnorm": True}},
    "pruned": {"loss": "hs", "minn": 2, "maxn": 4, "quantise": {"qnorm": True, "cutoff": 400}},
    "pruned-plain": {"loss": "softmax", "wordNgrams": 2, "quantise": {"qnorm": False, "cutoff": 300}},
    "pruned-to-words": {"loss": "softmax", "quantise": {"qnorm": True, "cutoff": 260}},
    "quantised-output": {"loss": "softmax", "labels": 300, "quantise": {"qout": True, "qnorm": True}},
}


def sentences(count: int, labels: int, seed: int = 3) -> list[str]:
    """Return labelled lines; each label prefers one alphabet."""
    rng = random.Random(seed)
    words = [["".join(rng.choices(a, k=rng.randint(1, 9))) for _ in range(80)] for a in ALPHABETS]
    lines = []
    for i in range(count):
        label = i % labels if i < labels else int(labels * rng.random() ** 2)
        mine = words[label % len(words)]
        picked = [rng.choice(mine if rng.random() < 0.7 else rng.choice(words)) for _ in range(rng.randint(1, 25))]
        lines.append(f"__label__l{label} {' '.join(picked)}")
    return lines


def builder(folder: Path) -> Callable[[str], Path]:
    """Return a function that trains a variant into a folder, once, and returns its path."""

    def build(variant: str) -> Path:
        path = folder / f"{variant}.bin"
        if not path.exists():
            options = dict(VARIANTS[variant])
            labels, quantise = options.pop("labels", 9), options.pop("quantise", None)
            text = folder / f"{variant}.txt"
            text.write_text("\n".join(sentences(900, labels)) + "\n", encoding="utf-8")
            base = {"dim": 8, "epoch": 8, "lr": 0.5, "minn": 0, "maxn": 0, "bucket": 1500, "thread": 1, "verbose": 0}
            model = fasttext.train_supervised(str(text), **{**base, **options})
            if quantise:
                model.quantize(input=str(text), thread=1, **quantise)
            model.save_model(str(path))
        return path

    return build


def array(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


TEXTS = [line.split(" ", 1)[1] for line in sentences(120, 9, seed=8)] + [
    "",
    " ",
    "\n",
    "never seen words at all",
    "two\nlines\r\nand\ttabs\x0b\x0c\x00\x01x\x7fy",
    "a </s> b c d",
    "__label__l1 abc",
    "__label__unknown abc",
    "__label__ __label_",
    "x" * 5000,
    "é" * 300 + " " + "漢" * 300,
    " ".join(["abc def"] * 4000),
]
