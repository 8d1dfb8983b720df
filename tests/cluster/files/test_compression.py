"""Compressed files: every member is read, damage is never an end of file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cluster.files import compression
from cluster.files.compression import CODECS, Damaged

DATA = b"".join(b"line %d of a file that is long enough\n" % n for n in range(20_000))


def read(data: bytes, codec: str) -> bytes:
    return b"".join(compression.pieces(io.BytesIO(data), codec))


@pytest.mark.parametrize("codec", CODECS)
def test_all_members_are_read(codec: str) -> None:
    packed = compression.compress(DATA, codec) + compression.compress(b"", codec) + compression.compress(b"end", codec)
    assert compression.by_magic(packed) == codec
    assert read(packed, codec) == DATA + b"end"
    assert compression.peek(io.BytesIO(packed), codec, 100) == DATA[:100]
    assert compression.reader(compression.pieces(io.BytesIO(packed), codec)).read() == DATA + b"end"


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("left", [0.01, 0.5, 0.9, 0.999])
def test_what_is_cut_is_damaged_after_what_could_be_read(codec: str, left: float) -> None:
    packed = compression.compress(DATA, codec)
    found = []
    with pytest.raises(Damaged, match="truncated"):
        found.extend(compression.pieces(io.BytesIO(packed[: int(len(packed) * left)]), codec))
    assert DATA.startswith(b"".join(found))
    with pytest.raises(Damaged):
        compression.reader(compression.pieces(io.BytesIO(packed[:-1]), codec)).read()


@pytest.mark.parametrize("codec", CODECS)
def test_a_second_member_that_is_cut_or_none_is_damaged(codec: str) -> None:
    packed = compression.compress(b"first", codec)
    for more in (compression.compress(DATA, codec)[:-9], b"neither a member nor padding"):
        with pytest.raises(Damaged):
            read(packed + more, codec)


@pytest.mark.parametrize("codec", ["gz", "bz2", "xz"])
def test_padding_between_members_is_passed_over(codec: str) -> None:
    packed = compression.compress(b"a", codec)
    padded = packed + b"\0" * (2 * compression.READ_BYTES) + packed + b"\0" * 8
    assert read(padded, codec) == b"aa"


@pytest.mark.parametrize("codec", ["zst", "lz4"])
def test_frames_without_data_are_passed_over(codec: str) -> None:
    empty = b"\x53\x2a\x4d\x18\x04\0\0\0meta"
    packed = empty + compression.compress(b"a", codec) + empty
    assert compression.by_magic(packed) == codec
    assert read(packed, codec) == b"a"


def test_names_and_whole_files(tmp_path: Path) -> None:
    assert [compression.by_name(n)[1] for n in ("A.GZ", "a.zstd", "a.tar", "a.lzma")] == ["gz", "zst", "", "xz"]
    path = tmp_path / "x.txt"
    for codec in ("", *CODECS):
        path.write_bytes(compression.compress(DATA, codec))
        assert compression.read_all(str(path)) == DATA
