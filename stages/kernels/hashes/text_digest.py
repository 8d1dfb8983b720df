"""The digest by which two texts are equal: the first 128 bits of SHA-256 of their bytes.

XXH64 with public seeds can be made to collide by whoever writes a page, in less than a second, and another's page
would be dropped as a copy of it. So the content hashes (hashing.py) order and sample documents, and this digest alone
says which are equal. SHA-256 since processors have instructions for it (1.5 GB/s on one core; BLAKE2b 0.9, both
through hashlib on 3 kB texts, 2026-11) and cuDF computes it.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np

from stages.kernels.dispatch.dispatch import by_backend
from stages.kernels.hashes.hashing import I64, U8, U64, check_offsets
from stages.kernels.hashes.native_sha256 import sha256

DIGEST_BYTES = 16


@by_backend
def text_digest(data: U8, offsets: I64) -> tuple[U64, U64]:
    """Return the two 64-bit words of each document's digest, both (docs,) uint64, little-endian.

    Parameters
    ----------
    data, offsets : (bytes,) uint8 and (docs + 1,) int64, as `hashing.buffers` returns them.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from stages.kernels.hashes.hashing import buffers
    >>> first, second = text_digest(*buffers(pa.array(["", "abc"])))
    >>> first.tobytes()[:8].hex(), second.tobytes()[:8].hex()
    ('e3b0c44298fc1c14', '9afbf4c8996fb924')
    """
    check_offsets(data, offsets)
    fast = sha256(data, offsets)
    if fast is not None:
        return np.ascontiguousarray(fast[:, 0]), np.ascontiguousarray(fast[:, 1])
    return words(by_hashlib(data, offsets))


def by_hashlib(data: U8, offsets: I64) -> bytes:
    """Return the digests of documents, one after the other, by Python's own functions."""
    view = memoryview(np.ascontiguousarray(data).data)
    found = bytearray()
    for start, stop in pairwise(offsets.tolist()):
        found += hashlib.sha256(view[start:stop], usedforsecurity=False).digest()[:DIGEST_BYTES]
    return bytes(found)


def words(digests: bytes) -> tuple[U64, U64]:
    """Return the words of digests that lie one after the other, both (docs,) uint64."""
    table = np.frombuffer(digests, "<u8").reshape(-1, 2).astype(np.uint64)
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
