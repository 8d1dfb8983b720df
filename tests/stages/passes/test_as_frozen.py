"""A file of a store is not asked for its size before it is read, and one that shrank is told all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster import counting_store
from cluster.counting_store import SCHEME, CountingStore
from cluster.errors import ShardError
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


def test_files_of_a_store_are_read_without_a_look_at_their_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: dict[str, str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(as_frozen, "size_of", lambda path: asked.append(path))
    assert run(tmp_path / "run", paths).num_rows == 80
    assert asked == []


@pytest.mark.parametrize("on_error", ["stop", "quarantine"])
def test_a_file_of_a_store_cut_short_after_the_freeze_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: dict[str, str], on_error: str
) -> None:
    name = next(path for path in sorted(CountingStore.store) if path.startswith("as-frozen/a/"))
    whole = CountingStore.store[name]

    def cut_then_annotate(*given: Any) -> dict[str, int]:
        CountingStore.store[name] = whole[: len(whole) // 2]
        return annotate.annotate(*given)

    monkeypatch.setattr(lost_shards, "annotate", cut_then_annotate)
    with pytest.raises(ShardError, match=r"changed during the run: it had .* run again with --refresh"):
        run(tmp_path / "run", paths, on_error=on_error)
