"""A file of a store is not asked for its size before it is read, and one that shrank is told all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cluster import counting_store
from cluster.counting_store import SCHEME, CountingStore
from cluster.errors import ShardError
from stages.core.shard import Dataset, Shard
from stages.inputs.batches import Batch, Problem
from stages.passes import annotate, as_frozen, lost_shards
from tests.support import corpora
from tests.support.small_runs import run

FORMATS = ("parquet", "jsonl")


@pytest.fixture(params=FORMATS)
def paths(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Datasets in a store; their folders by name."""
    counting_store.use()
    found: dict[str, str] = {}
    for name in corpora.write(tmp_path / "in", corpora.corpus(32, 80), 2, (request.param,)):
        found[name] = f"{SCHEME}://as-frozen/{name}"
        for file in sorted((tmp_path / "in" / name).iterdir()):
            CountingStore().pipe_file(f"{found[name]}/{file.name}", file.read_bytes())
    yield found
    CountingStore.empty()


def test_files_of_a_store_are_looked_at_only_where_a_longer_one_would_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: dict[str, str]
) -> None:
    asked: list[str] = []
    size_of = as_frozen.size_of
    monkeypatch.setattr(as_frozen, "size_of", lambda path: asked.append(path) or size_of(path))
    assert run(tmp_path / "run", paths).num_rows == 80
    lines = [path for path in CountingStore.store if path.endswith(".jsonl")]
    assert sorted(asked) == sorted(f"{SCHEME}://{path}" for path in lines)


@pytest.mark.parametrize("on_error", ["stop", "quarantine"])
def test_a_file_of_a_store_cut_short_after_the_freeze_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: dict[str, str], on_error: str
) -> None:
    name = next(path for path in sorted(CountingStore.store) if path.startswith("as-frozen/a/"))
    whole = CountingStore.store[name]

    def cut_then_annotate(*given: Any, **more: Any) -> dict[str, int]:
        CountingStore.store[name] = whole[: len(whole) // 2]
        return annotate.annotate(*given, **more)

    monkeypatch.setattr(lost_shards, "annotate", cut_then_annotate)
    with pytest.raises(ShardError, match=r"changed during the run: it had .* run again with --refresh"):
        run(tmp_path / "run", paths, on_error=on_error)


@pytest.mark.parametrize("on_error", ["stop", "quarantine"])
def test_a_file_of_a_store_replaced_by_a_longer_one_is_told_and_leaves_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: dict[str, str], on_error: str
) -> None:
    name = next(path for path in sorted(CountingStore.store) if path.startswith("as-frozen/a/"))
    whole = CountingStore.store[name]
    longer = tmp_path / Path(name).name
    corpora.write_file(longer, [{"id": f"n{i}", "text": f"another text, number {i}"} for i in range(90)])

    def replace_then_annotate(*given: Any, **more: Any) -> dict[str, int]:
        CountingStore.store[name] = longer.read_bytes()
        return annotate.annotate(*given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(lost_shards, "annotate", replace_then_annotate)
        with pytest.raises(ShardError, match=r"changed during the run: it had .* run again with --refresh"):
            run(tmp_path / "run", paths, on_error=on_error)
    CountingStore.store[name] = whole
    assert run(tmp_path / "run", paths, on_error=on_error).equals(run(tmp_path / "new", paths, on_error=on_error))


def test_a_problem_in_many_batches_is_one_look_and_its_error_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    path, problem = f"{SCHEME}://as-frozen/a.jsonl", Problem("a", 1, 0, "not JSON")
    shard = Shard(ordinal=0, dataset="a", path=path, relative_path="a.jsonl", rows=9, bytes=9, fingerprint="f")
    monkeypatch.setattr(as_frozen, "size_of", lambda path: asked.append(path) or 9)
    batch = Batch(ordinal=0, start=0, table=pa.table({}), status=np.empty(0, np.uint8), problems=(problem,))
    assert len(list(as_frozen.as_frozen(Dataset(name="a", paths=()), shard, None, iter([batch] * 9)))) == 9
    assert len(asked) == 2  # at the first problem and at the end

    def unreachable(path: str) -> int:
        raise OSError("and no size either")

    def read() -> Iterator[Batch]:
        raise ShardError("the store cannot be reached")
        yield

    monkeypatch.setattr(as_frozen, "size_of", unreachable)
    with pytest.raises(ShardError, match="cannot be reached"):
        list(as_frozen.as_frozen(Dataset(name="a", paths=()), shard, None, read()))
