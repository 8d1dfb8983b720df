"""What is held out of every mix: documents drawn by the hash of their content, or of a field that keeps them together.

Guarantees: documents with the same value of the field are held out together or not at all, and so are equal texts where
the field is `content`; a document without a value is drawn by its content. Memory: the facts of one bundle.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stages.core.arrays import BoolArray, array
from stages.kernels.hashes.hashing import buffers, content_hash, mix64
from stages.outcome.cells import Values
from stages.outcome.fields import find_field, values_of
from stages.outcome.holdout_groups import GROUP, held_with_groups
from stages.outcome.mixing import CONTENT, Mix, is_held_out
from stages.outcome.verdicts import Outcome

U64 = npt.NDArray[np.uint64]


def held_out(mix: Mix, position: int, found: Outcome) -> BoolArray:
    """Mark the kept rows of a bundle that are held out, (rows,) bool."""
    if mix.holdout <= 0:
        return np.zeros(len(found.kept), np.bool_)
    if mix.holdout_by == GROUP:
        return held_with_groups(mix, position, found)
    keys = array(found.view.read, "h1").astype(np.uint64)
    if mix.holdout_by != CONTENT:
        rows = np.flatnonzero(found.kept)
        field = find_field(mix.holdout_by, found.view.run.stages)
        keys = keys.copy()
        keys[rows] = _hashes(values_of(field, position, found, rows), keys[rows])
    return found.kept & is_held_out(keys, mix)


def _hashes(values: Values, otherwise: U64) -> U64:
    """Return the hash of each value, of its text where it has one; `otherwise` where there is none."""
    found = otherwise.copy()
    if values.number is not None:
        there = ~np.isnan(values.number)
        found[there] = mix64((values.number[there] + 0.0).view(np.uint64), 1)
    if values.text is not None:
        valid = np.asarray(values.text.is_valid().to_numpy(zero_copy_only=False), np.bool_)
        found[valid] = content_hash(*buffers(values.text.drop_null()))[0]
    return found
