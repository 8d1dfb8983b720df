"""Sealed files are plain Arrow and Parquet to others, and any change of any byte is told."""

from __future__ import annotations

import io
import pickle
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import DamagedError
from cluster.files import integrity, sealed
from cluster.files.arrow_files import open_arrow, read_arrow, write_arrow
from cluster.files.slices import SliceWriter, check_slices, read_slice

TABLE = pa.table({"row": pa.array(range(300), pa.uint32()), "text": [f"text {i}" * (i % 7) for i in range(300)]})


def write_parquet(path: str, table: pa.Table) -> None:
    with sealed.commit_sealed(path) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def read_parquet(path: str) -> pa.Table:
    return pa.concat_tables(sealed.batches(path, 100))


KINDS = {"x.arrow": (write_arrow, read_arrow), "x.parquet": (write_parquet, read_parquet)}


@pytest.mark.parametrize("name", KINDS)
def test_a_sealed_file_is_read_by_plain_readers(tmp_path: Path, name: str) -> None:
    write, read = KINDS[name]
    path = str(tmp_path / name)
    write(path, TABLE)
    assert read(path).equals(TABLE)
    plain = pa.ipc.open_file(path).read_all() if name == "x.arrow" else pq.read_table(path)
    assert plain.equals(TABLE)


@pytest.mark.parametrize("name", KINDS)
def test_every_flipped_bit_is_told_but_in_the_word_that_says_there_is_a_seal(tmp_path: Path, name: str) -> None:
    write, read = KINDS[name]
    path = tmp_path / name
    write(str(path), TABLE.slice(0, 20))
    whole = path.read_bytes()
    unsealed = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        try:
            found = read(str(path))
        except DamagedError:
            continue
        unsealed += 1
        assert found.equals(TABLE.slice(0, 20))
    assert unsealed == len(sealed.SEAL)  # then it counts as written by a winnow that did not seal


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("length", [0, 1, 9, 25, 26, 100, -1, -10, -26])
def test_a_cut_file_is_told(tmp_path: Path, name: str, length: int) -> None:
    write, read = KINDS[name]
    path = tmp_path / name
    write(str(path), TABLE)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedError, match=r"is damaged: it.*`?[Ww]innow run"):
        read(str(path))
    assert integrity.fault_of(str(path)) is not None


def test_a_file_without_a_seal_is_read_and_its_offsets_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "old.arrow"
    table = pa.table({"t": ["abc"] * 100})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    assert read_arrow(str(path)).equals(table)
    data = bytearray(path.read_bytes())
    at = data.index(b"\x03\0\0\0\x06\0\0\0\x09\0\0\0")
    data[at + 3] = 0x70  # an offset far beyond the text
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=r"old\.arrow is damaged"):
        read_arrow(str(path))


def test_a_file_that_changed_is_checked_again(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    write_arrow(str(path), TABLE)
    assert open_arrow(str(path)).num_record_batches == 1
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedError):
        open_arrow(str(path))


@given(st.lists(st.binary(max_size=30), max_size=20), st.sampled_from(sealed.ENDS))
def test_what_is_written_in_any_pieces_is_sealed_alike(pieces: list[bytes], end: bytes) -> None:
    class Out(io.BytesIO):
        pass

    found = set()
    whole = b"".join([*pieces, (4).to_bytes(4, "little"), end])
    for cut in (pieces, [b"".join(pieces)], [bytes([b]) for b in b"".join(pieces)]):
        out = Out()
        sealing = sealed.Sealing(out)
        for piece in [*cut, (4).to_bytes(4, "little") + end]:
            sealing.write(piece)
        sealing.finish()
        sealed.check_bytes("x", out.getvalue())
        found.add(out.getvalue())
        assert sealing.tell() == len(whole)
    assert len(found) == 1


@pytest.mark.parametrize("public", [False, True])
def test_every_flipped_bit_of_json_is_told_or_harmless(tmp_path: Path, public: bool) -> None:
    path = tmp_path / "x.json"
    data = {"format": 1, "files": [{"path": "a", "bytes": 17, "share": 0.1}], "none": None}
    write, read = (
        (sealed.write_public_json, sealed.read_public_json) if public else (sealed.write_json, sealed.read_json)
    )
    write(str(path), data)
    assert read(str(path)) == data
    whole = path.read_bytes()
    for at in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
            try:
                found = read(str(path))
            except DamagedError:
                continue
            assert {key: found.get(key) for key in data} == data  # only the key `checksum`, or white space


def test_every_flipped_bit_of_a_file_of_slices_is_told(tmp_path: Path) -> None:
    path = tmp_path / "map-0.slices"
    writer = SliceWriter(5)
    schema = pa.schema([("x", pa.int64())])
    for destination in (0, 3, 4):
        writer.add(destination, pa.record_batch([pa.array(range(destination + 2))], schema=schema))
    with path.open("wb") as file:
        writer.write(file)
    check_slices(str(path))
    whole = path.read_bytes()
    right = [read_slice(str(path), d, schema) for d in range(5)]
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        for destination in range(5):
            try:
                found = read_slice(str(path), destination, schema)
            except DamagedError:
                continue
            assert found == right[destination], (at, destination)
    for data in (b"", whole[:40], whole[: len(whole) - 8], bytes(len(whole))):
        path.write_bytes(data)
        with pytest.raises(DamagedError):
            check_slices(str(path))
        told = 0
        for destination in range(5):
            try:
                assert read_slice(str(path), destination, schema) == right[destination]
            except DamagedError:
                told += 1
        assert told


def test_damage_keeps_its_path_between_processes() -> None:
    error = pickle.loads(pickle.dumps(sealed.damaged("a/b", "it is cut")))
    assert (error.path, str(error)) == ("a/b", str(sealed.damaged("a/b", "it is cut")))


def test_random_bytes_are_never_taken_for_a_sealed_file(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    for seed in range(50):
        path.write_bytes(random.Random(seed).randbytes(200) + b"ARROW1" * (seed % 2))
        with pytest.raises(DamagedError):
            read_arrow(str(path))
