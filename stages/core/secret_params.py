"""Secret parameters of stages: kept out of lock, report, card, digests and error messages.

Only the user's own recipe holds the secret. A run folder holds its digest, from which it cannot be computed if it is
long enough to be one; whoever needs the secret again brings it in an environment variable. Guarantees: facts and
decisions have the same address whether a stage was made with the secret or with its digest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

SEALED = "digest:"


def sealed(value: str) -> str:
    """Return the digest that stands for a secret; an empty one, and a digest, as they are.

    >>> sealed(""), sealed("digest:00"), len(sealed("a secret"))
    ('', 'digest:00', 39)
    """
    if not value or value.startswith(SEALED):
        return value
    return SEALED + hashlib.blake2b(value.encode(), digest_size=16, person=b"winnow secret").hexdigest()


def is_sealed(value: str) -> bool:
    """Tell whether a value is the digest of a secret."""
    return value.startswith(SEALED)


def variable(use: str, parameter: str) -> str:
    """Return the environment variable that may hold a secret.

    >>> variable("pii", "salt")
    'WINNOW_PII_SALT'
    """
    return f"WINNOW_{use}_{parameter}".upper()


def revealed(value: str, use: str, parameter: str, environment: Mapping[str, str] | None = None) -> str:
    """Return the secret whose digest `value` is, where the environment holds it; else `value` as it is."""
    held = (os.environ if environment is None else environment).get(variable(use, parameter), "")
    return held if is_sealed(value) and sealed(held) == value else value
