"""Small fastText models of each kind, trained in a fraction of a second."""

from __future__ import annotations

from pathlib import Path

import fasttext
import numpy as np

VARIANTS = ("plain", "tree", "quantised", "pruned")


def write_model(path: Path, variant: str = "plain") -> Path:
    """Write a quality model of two labels: softmax, a tree of labels, quantised, or quantised and pruned."""
    rng = np.random.default_rng(5)
    words = [f"word{i}" for i in range(60)]
    lines = [f"__label__{'hq' if n % 2 else 'lq'} {' '.join(rng.choice(words, 12))}" for n in range(300)]
    train = path.with_suffix(".txt")
    train.write_text("\n".join(lines) + "\n")
    loss = "hs" if variant == "tree" else "softmax"
    model = fasttext.train_supervised(
        str(train), dim=8, wordNgrams=2, bucket=500, minn=2, maxn=3, loss=loss, thread=1, verbose=0
    )
    if variant in ("quantised", "pruned"):
        more = {"cutoff": 300, "retrain": False} if variant == "pruned" else {}
        model.quantize(str(train), qnorm=True, verbose=0, thread=1, **more)
    model.save_model(str(path))
    train.unlink()
    return path
