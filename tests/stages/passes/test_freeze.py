"""Inputs that change, at any size, and manifests of every age: nothing changed is taken for unchanged."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster import counting_store, storage
from cluster.counting_store import SCHEME, CountingStore
from cluster.engines import InlineEngine
from cluster.errors import DamagedError, LedgerError, ShardError
from stages.core import manifest
from stages.core.manifest import Manifest
from stages.core.run import Run
from stages.core.shard import Columns, Dataset
from stages.implicit.read import Read
from stages.inputs.files import file_versions
from stages.passes import freeze as freezing
from stages.passes.freeze import freeze
from tests.support.wind_tunnel import texts

LINES = 4000


def write(path: Path, first: str = "a") -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps({"text": f"{first} line {n}"}) + "\n" for n in range(LINES)))


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files of some kB count as too large to be hashed whole in an object store."""
    monkeypatch.setattr(file_versions, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(file_versions, "SAMPLE_BYTES", 16)


def run_of(root: str | Path, inputs: str | Path) -> Run:
    dataset = Dataset(name="d", paths=(str(inputs),), columns=Columns(text="text"))
    return Run(root=str(root), datasets=(dataset,), stages=(Read(),), priority=("d",))


def frozen(root: str | Path, inputs: str | Path, **how: Any) -> Manifest:
    return freeze(InlineEngine(), run_of(root, inputs), **how)


def change_between_samples(path: Path) -> None:
    """Change one byte that no sample sees; the size stays."""
    data = bytearray(path.read_bytes())
    samples = [(len(data) - 16) * n // (file_versions.SAMPLES - 1) for n in range(file_versions.SAMPLES)]
    at = next(i for i in range(len(data)) if data[i : i + 1].isdigit() and not any(s <= i < s + 16 for s in samples))
    data[at] = ord("7") if data[at] != ord("7") else ord("8")
    path.write_bytes(data)


@pytest.mark.parametrize("restored", ["nothing", "mtime", "mtime and inode"])
def test_a_byte_that_changes_in_a_large_file_is_noticed_whatever_times_say(tmp_path: Path, restored: str) -> None:
    path = tmp_path / "in" / "x.jsonl"
    write(path)
    before = frozen(tmp_path / "run", tmp_path / "in")
    stat = path.stat()
    if restored == "mtime":  # another file with the old time
        copy = tmp_path / "copy"
        copy.write_bytes(path.read_bytes())
        os.replace(copy, path)
    change_between_samples(path)
    if restored != "nothing":
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(ShardError, match="changed since it was frozen"):
        frozen(tmp_path / "run", tmp_path / "in")
    after = frozen(tmp_path / "run", tmp_path / "in", refresh=True)
    assert after.live_shards[0].fingerprint != before.live_shards[0].fingerprint
    assert (after.live_shards[0].ordinal, after.digest == before.digest) == (0, False)


def test_a_touched_or_copied_file_is_not_news(tmp_path: Path) -> None:
    path = tmp_path / "in" / "x.jsonl"
    write(path)
    before = frozen(tmp_path / "run", tmp_path / "in")
    os.utime(path)
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    os.replace(copy, path)
    assert frozen(tmp_path / "run", tmp_path / "in") == before


def test_unchanged_files_are_not_read_again_and_a_lost_cache_is_hashed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in" / "x.jsonl")
    before = frozen(tmp_path / "run", tmp_path / "in")
    read = []
    real = freezing.fingerprint
    monkeypatch.setattr(freezing, "fingerprint", lambda *a, **how: read.append(a) or real(*a, **how))
    assert frozen(tmp_path / "run", tmp_path / "in") == before
    assert not read
    for damage in (b"", b"{", b'{"tokens": 3}', b'{"checksum": "0", "data": {}}'):
        (tmp_path / "run" / "facts" / "inputs.json").write_bytes(damage)
        read.clear()
        assert frozen(tmp_path / "run", tmp_path / "in") == before
        assert len(read) == 1


def test_a_large_object_is_known_by_the_marks_of_its_store(tmp_path: Path) -> None:
    import fsspec

    store, name = fsspec.filesystem("memory"), tmp_path.name
    path = tmp_path / "x.jsonl"
    write(path)
    store.pipe_file(f"/{name}/x.jsonl", path.read_bytes())
    before = frozen(tmp_path / "run", f"memory://{name}/x.jsonl")
    assert frozen(tmp_path / "run", f"memory://{name}/x.jsonl") == before
    change_between_samples(path)
    store.pipe_file(f"/{name}/x.jsonl", path.read_bytes())
    with pytest.raises(ShardError, match="changed since it was frozen"):
        frozen(tmp_path / "run", f"memory://{name}/x.jsonl")
    after = frozen(tmp_path / "run", f"memory://{name}/x.jsonl", refresh=True)
    assert after.live_shards[0].fingerprint != before.live_shards[0].fingerprint
    store.rm(f"/{name}", recursive=True)


def test_a_file_that_changes_while_it_is_frozen_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in" / "x.jsonl"
    write(path)
    real = freezing.count_and_layout

    def changing(*arguments: Any, **more: Any) -> Any:
        found = real(*arguments, **more)
        write(path, "b")
        return found

    monkeypatch.setattr(freezing, "count_and_layout", changing)
    with pytest.raises(ShardError, match="changed while it was read"):
        frozen(tmp_path / "run", tmp_path / "in")


# --- manifests of every age ------------------------------------------------------------------------------


def as_before_generations(root: Path, found: Manifest, tokens: dict[str, Any]) -> None:
    """Write a run folder's manifest as three files, as the first winnow did."""
    names = [name for name in manifest.MANIFEST_SCHEMA.names if name not in ("file_rows", "format", "text_bytes")]
    schema = pa.schema([manifest.MANIFEST_SCHEMA.field(n) for n in names], manifest.MANIFEST_SCHEMA.metadata)
    rows = [{n: getattr(s, manifest.FIELDS.get(n, n)) for n in names} for s in found.shards]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), root / "manifest.parquet")
    pieces = [[b.number, b.dataset, p.shard.ordinal, p.start, p.stop] for b in found.bundles for p in b.pieces]
    (root / "facts" / "bundles.json").write_text(json.dumps(pieces))
    (root / "facts" / "inputs.json").write_text(json.dumps({"limit": found.limit, "tokens": tokens}))


@pytest.mark.parametrize("limit", [None, 10])
def test_a_manifest_in_three_files_is_read_and_becomes_one(tmp_path: Path, limit: int | None) -> None:
    path = tmp_path / "in" / "x.jsonl"
    write(path)
    new = frozen(tmp_path / "run", tmp_path / "in", limit=limit)
    stat = path.stat()
    token = f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"
    as_before_generations(tmp_path / "run", new, {str(path): [token, new.shards[0].fingerprint, LINES]})
    old = manifest.read_manifest(str(tmp_path / "run"))
    assert old is not None
    assert list(old.shards) == [dataclasses.replace(shard, format="", text_bytes=None) for shard in new.shards]
    assert [(b.number, b.dataset, b.rows) for b in old.bundles] == [(b.number, b.dataset, b.rows) for b in new.bundles]
    assert old.limit == limit
    lifted = frozen(tmp_path / "run", tmp_path / "in")
    assert (lifted.limit, lifted.rows()) == (None, LINES)


@pytest.mark.parametrize("name", ["bundles.json", "inputs.json"])
@pytest.mark.parametrize("damage", [None, b"", b"[[", b"[[0, 1]]", b'[[0, "d", 99, 0, 1]]'])
def test_a_broken_part_of_an_old_manifest_is_told(tmp_path: Path, name: str, damage: bytes | None) -> None:
    write(tmp_path / "in" / "x.jsonl")
    as_before_generations(tmp_path / "run", frozen(tmp_path / "run", tmp_path / "in"), {})
    path = tmp_path / "run" / "facts" / name
    path.unlink() if damage is None else path.write_bytes(damage)
    if name == "inputs.json" and damage is None:
        assert manifest.read_manifest(str(tmp_path / "run")) is not None
        return
    with pytest.raises(DamagedError, match="which belong to it, are missing or cut") as told:
        manifest.read_manifest(str(tmp_path / "run"))
    assert told.value.path == manifest.manifest_path(str(tmp_path / "run"))


def test_an_unknown_data_format_is_refused_and_kept(tmp_path: Path) -> None:
    write(tmp_path / "in" / "x.jsonl")
    frozen(tmp_path / "run", tmp_path / "in")
    path = tmp_path / "run" / "manifest.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"winnow.format": b"2"}), path)
    data = path.read_bytes()
    with pytest.raises(LedgerError, match=r"manifest\.parquet has data format 2, this winnow .* reads 1\. Use") as told:
        frozen(tmp_path / "run", tmp_path / "in")
    assert not isinstance(told.value, DamagedError)
    assert path.read_bytes() == data


def test_pieces_keep_their_order_in_a_bundle(tmp_path: Path) -> None:
    for name in "abcd":
        write(tmp_path / "in" / f"{name}.jsonl", name)
    found = frozen(tmp_path / "run", tmp_path / "in")
    [bundle] = found.bundles
    turned = dataclasses.replace(bundle, pieces=bundle.pieces[::-1])
    manifest.write_manifest(str(tmp_path / "run"), dataclasses.replace(found, bundles=(turned,)))
    again = manifest.read_manifest(str(tmp_path / "run"))
    assert again is not None
    assert again.bundles == (turned,)


def _place(path: str) -> str:
    """Return the folder of the store that a request is about."""
    return path.partition("/")[0]


def test_freezing_a_store_reads_ranges_and_asks_one_listing_for_sizes_and_marks() -> None:
    counting_store.use()
    CountingStore.empty()
    noise = np.random.default_rng(1).bytes(800_000).hex()
    for number in range(10):
        table = pa.table({"text": [*texts(50, number), noise]})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        storage.write_bytes(f"{SCHEME}://frozen-in/{number}.parquet", sink.getvalue().to_pybytes())
    CountingStore.watch(_place)
    before = frozen(f"{SCHEME}://frozen-run", f"{SCHEME}://frozen-in")
    assert sum(CountingStore.bytes_read.values()) < 0.3 * sum(s.bytes for s in before.live_shards)
    assert CountingStore.counts["frozen-in"].list == 1
    assert CountingStore.counts["frozen-in"].head <= 5 * 10
    CountingStore.watch(_place)
    assert frozen(f"{SCHEME}://frozen-run", f"{SCHEME}://frozen-in") == before
    assert CountingStore.counts["frozen-in"].head <= 6
    assert CountingStore.counts["frozen-in"].get == 0
