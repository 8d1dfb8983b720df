"""Digests: short names of parameters, by which facts, decisions and whole runs are addressed.

Guarantees: equal parameters have equal digests in every process, version of Python and order of a set or a dict.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np

DATA_FORMAT = 1  # version of every artefact that winnow writes


def digest(*parts: object) -> str:
    """Return 16 hexadecimal digits that address `parts` (JSON-able values)."""
    data = json.dumps(parts, sort_keys=True, default=_plain).encode()
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)
