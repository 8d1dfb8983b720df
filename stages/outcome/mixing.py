"""Mixing: copies of each kept document by dataset weights, target tokens and epochs.

Guarantees: copies depend on a document's content, its number among the copies of that text in its dataset, the seed,
the name of the mix and the number of epochs alone, so adding a dataset reshuffles no other. Shortfalls are reported,
never hidden.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.seed import DEFAULT_SEED
from stages.core.arrays import FloatArray
from stages.implicit.read import unit_interval
from stages.kernels.hashes.hashing import mix64
from stages.outcome.cells import Cell, Combined

COPIES_SALT = 0x6D6978  # so that sampling, holding out and shuffling are independent of each other
HOLDOUT_SALT = 0x686F6C64
SHUFFLE_SALT = 0x73687566
CONTENT_SALT = 0x63656C6C
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: multiples of it are spread evenly over 2^64
CONTENT = "content"  # what is held out together: equal texts


@dataclass(frozen=True, kw_only=True)
class Mix:
    """The mix that a recipe asks for. weights are shares of the resulting mix; empty: as they come.

    name : empty for the one mix of a recipe. cells : instead of weights per dataset; scores : combined, for their
    conditions. exclude : mixes of which no document is taken; exclude_digest : of what these wish. holdout_by : the
    field whose values are held out whole.
    """

    mode: str = "all_with_weights"  # or sample
    target_tokens: int | None = None
    weights: Mapping[str, float] | None = None
    max_epochs: float | Mapping[str, float] = 1.0
    holdout: float = 0.0
    seed: int = DEFAULT_SEED
    name: str = ""
    cells: tuple[Cell, ...] = ()
    scores: tuple[Combined, ...] = ()
    exclude: tuple[str, ...] = ()
    exclude_digest: str = ""
    holdout_by: str = CONTENT

    def values(self) -> dict[str, Any]:
        """Return what digests are made of: a key that later versions brought counts only where it is given."""
        found = dataclasses.asdict(self)
        later = ("name", "cells", "scores", "exclude", "exclude_digest", "holdout_by")
        return {k: v for k, v in found.items() if k not in later or v not in ("", (), CONTENT)}

    @property
    def draw_seed(self) -> int:
        """The seed of its draw: mixes of one run are drawn independently of each other."""
        if not self.name:
            return self.seed ^ COPIES_SALT
        salt = int.from_bytes(hashlib.blake2b(self.name.encode(), digest_size=8).digest(), "big")
        return self.seed ^ COPIES_SALT ^ salt

    def epochs_allowed(self, dataset: str) -> float:
        """Return the greatest number of epochs of a dataset."""
        return self.max_epochs.get(dataset, 1.0) if isinstance(self.max_epochs, Mapping) else self.max_epochs


@dataclass(frozen=True, kw_only=True)
class Portion:
    """Contribution of one dataset. tokens and documents are those kept, holdout excluded."""

    documents: int
    tokens: int
    weight: float | None
    target_tokens: int | None
    epochs: float

    @property
    def expected_tokens(self) -> int:
        return round(self.tokens * self.epochs)

    @property
    def shortfall_tokens(self) -> int:
        """Tokens missing from the target when epochs are at their maximum."""
        return 0 if self.target_tokens is None else max(0, self.target_tokens - self.expected_tokens)


def portions(mix: Mix, survivors: Mapping[str, tuple[int, int]]) -> dict[str, Portion]:
    """Return what each dataset contributes.

    Parameters
    ----------
    mix : the `mix` section of the recipe.
    survivors : (documents, tokens) per dataset, held-out documents excluded.

    Notes
    -----
    sample: target_d = target_tokens * w_d / sum(w), epochs_d = min(target_d / tokens_d, max_epochs_d).
    Without target_tokens the mix is the largest that keeps the weights within max_epochs:
    min over d of tokens_d * max_epochs_d * sum(w) / w_d, over the datasets that have survivors: one without any
    gives nothing, and the others keep their weights among themselves (mix_warnings.py says so).
    """
    weights = {name: float((mix.weights or {}).get(name, 0.0 if mix.weights else 1.0)) for name in survivors}
    if mix.mode != "sample":
        shown = {name: (weights[name] if mix.weights else None) for name in survivors}
        return {
            n: Portion(documents=d, tokens=t, weight=shown[n], target_tokens=None, epochs=1.0)
            for n, (d, t) in survivors.items()
        }
    if mix.target_tokens is None:
        shares = {name: weight if survivors[name][1] else 0.0 for name, weight in weights.items()}
    else:
        shares = weights
    total = _total(mix, survivors, shares)
    whole = sum(shares.values())
    result = {}
    for name, (documents, tokens) in survivors.items():
        target = 0 if whole == 0 else round(total * shares[name] / whole)
        wished = target / tokens if tokens else 0.0
        epochs = min(wished, mix.epochs_allowed(name))
        result[name] = Portion(
            documents=documents, tokens=tokens, weight=weights[name], target_tokens=target, epochs=epochs
        )
    return result


def _total(mix: Mix, survivors: Mapping[str, tuple[int, int]], weights: Mapping[str, float]) -> float:
    """Return the tokens of the whole mix: the target, or the most that the weights and epochs allow."""
    if mix.target_tokens is not None:
        return mix.target_tokens
    if mix.weights is None or not mix.weights:
        return math.inf if not survivors else sum(t * mix.epochs_allowed(n) for n, (_, t) in survivors.items())
    whole = sum(weights.values())
    limits = [t * mix.epochs_allowed(n) * whole / weights[n] for n, (_, t) in survivors.items() if weights[n]]
    return min(limits, default=0.0)


def is_held_out(keys: npt.NDArray[np.uint64], mix: Mix) -> npt.NDArray[np.bool_]:
    """Mark held-out documents, chosen by the hash of their content or of what they are held out by, (docs,) bool."""
    if mix.holdout <= 0:
        return np.zeros(len(keys), np.bool_)
    return unit_interval(keys, mix.seed ^ HOLDOUT_SALT) < mix.holdout


def copies(
    h1: npt.NDArray[np.uint64],
    epochs: float | FloatArray,
    seed: int,
    numbers: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.int32]:
    """Return the copies of each document in the mix: whole epochs, plus one for the sampled fraction, (docs,) int32.

    Parameters
    ----------
    h1 : content hashes.
    epochs : of all documents, or of each.
    seed : `Mix.draw_seed`.
    numbers : of each document among those of its dataset with the same text, from 0; None: all texts differ.

    Notes
    -----
    A document is drawn where its number in [0, 1), from the content, lies below the fraction. Copies of one text are
    spread evenly over [0, 1) by multiples of the golden ratio: of n of them, a share f gives n * f, give or take a few.
    """
    whole = np.floor(epochs)
    bits = mix64(h1, seed)
    if numbers is not None:
        bits = bits + numbers.astype(np.uint64) * GOLDEN
    share = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.asarray(whole + (share < epochs - whole)).astype(np.int32)


def content_sum(h1: npt.NDArray[np.uint64]) -> int:
    """Return a number that says which documents these are, in any order: a sum of hashes modulo 2^64."""
    return int(np.add.reduce(mix64(h1, CONTENT_SALT), dtype=np.uint64))
