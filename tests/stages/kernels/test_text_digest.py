"""The digest of texts has the bits of hashlib's SHA-256, by either way."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.kernels.hashes import native_sha256, text_digest
from stages.kernels.hashes.hashing import buffers
from tests.support.dask_processes import ROOT


def expected(texts: list[str]) -> bytes:
    return b"".join(hashlib.sha256(text.encode()).digest()[:16] for text in texts)


def found(array: pa.Array) -> bytes:
    return np.stack(text_digest.text_digest(*buffers(array)), axis=1).astype("<u8").tobytes()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text()), st.integers(0, 3))
def test_digests_equal_hashlib_for_any_slice(texts: list[str], start: int) -> None:
    assert found(pa.array(texts, pa.large_string()).slice(start)) == expected(texts[start:])


def test_every_length_around_the_block_boundaries() -> None:
    texts = [("abcdéfgh日" * 600)[:n] for n in (*range(140), 1000, 4096, 5000)]
    assert found(pa.array(texts)) == expected(texts)


def test_a_library_without_the_functions_is_answered_by_hashlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_sha256, "NAMES", ("SHA256_Init", "no_such_function", "SHA256_Final"))
    native_sha256._functions.cache_clear()
    try:
        assert native_sha256.sha256(*buffers(pa.array(["one"]))) is None
        texts = ["", "one", "x" * 1000]
        assert found(pa.array(texts)) == expected(texts)
    finally:
        native_sha256._functions.cache_clear()


def test_functions_that_hash_otherwise_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_sha256, "NAMES", ("SHA224_Init", "SHA224_Update", "SHA224_Final"))
    native_sha256._functions.cache_clear()
    try:
        assert native_sha256.sha256(*buffers(pa.array(["one"]))) is None
    finally:
        native_sha256._functions.cache_clear()


THREADS = """
import concurrent.futures, hashlib
import pyarrow as pa
from stages.kernels.hashes.hashing import buffers
from stages.kernels.hashes.text_digest import text_digest

texts = ["text %d " % n * (n % 40) for n in range(3000)]
wanted = [hashlib.sha256(text.encode()).digest()[:8] for text in texts]

def wrong(_):
    first, _ = text_digest(*buffers(pa.array(texts)))
    return sum(word.tobytes() != digest for word, digest in zip(first.astype("<u8"), wanted, strict=True))

with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(sum(pool.map(wrong, range(100))))
"""


def digests_in_a_process(**more: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | more
    done = subprocess.run([sys.executable, "-c", THREADS], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_threads_that_share_an_allocator_write_into_no_memory_but_their_own() -> None:
    """Memory that is freed too early goes to another thread at once where none keeps freed pieces to itself."""
    assert digests_in_a_process(MALLOC_ARENA_MAX="1", GLIBC_TUNABLES="glibc.malloc.tcache_count=0") == "0"


def test_without_compilation_hashlib_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.config.DISABLE_JIT", True)
    native_sha256._functions.cache_clear()
    try:
        assert native_sha256.sha256(*buffers(pa.array(["one"]))) is None
    finally:
        native_sha256._functions.cache_clear()
