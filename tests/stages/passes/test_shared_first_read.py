"""A first read whose bundles GPU and cores share: the same bytes whatever the share, which small runs do not have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.device import backend, share
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.core import manifest
from stages.core.shard import Piece
from stages.inputs import device_reader
from tests.stages.inputs.test_device_reader import FLAGSHIP, ODD, STAGES, device, shard
from tests.support import cuda_on_host, fasttext_variants

__all__ = ["device"]  # a fixture


def written(root: Path, name: str, backend_: str, stages: list[dict[str, Any]], workers: int) -> dict[str, object]:
    """Run a recipe; return the bytes of its ledger and mix, and the bits of its facts, without notes about the run.

    How the facts lie in record batches follows the reader's batches, and is no fact.
    """
    datasets = {"web": {"paths": str(root / "*.parquet"), "columns": {"text": "text", "id": "id"}}}
    cluster = {"kind": "threads", "backend": backend_, "workers": workers}
    output = {"columns": ["id"], "shard_bytes": 3000}
    recipe = {"name": "t", "datasets": datasets, "stages": stages, "cluster": cluster, "output": output}
    runner.run(load_data(recipe, "test"), str(root / name))
    files = [p for part in ("facts", "ledger", "mix") for p in sorted((root / name / part).rglob("*")) if p.is_file()]
    return {str(p.relative_to(root / name)): _content(p) for p in files if p.suffix not in (".json", ".md")}


def _content(path: Path) -> object:
    if path.suffix != ".arrow" or "facts" not in path.parts:
        return path.read_bytes()
    table = pa.ipc.open_file(path).read_all()
    return table.schema.to_string(show_field_metadata=True), repr(table.to_pydict())  # floats to the bit


def first_read(root: Path, name: str) -> dict[str, Any]:
    steps = json.loads((root / name / "timings.json").read_text())["stages"]
    found: dict[str, Any] = next(step for step in steps if step["name"] == "annotate")
    return found


def many_bundles(root: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Write files of one bundle a row group; return how many bundles there are."""
    texts = [
        f"document {i // 3} says the very same thing{' again' * (i % 3)} {judged} don&amp;t.\n1 like"
        for i, judged in zip(range(40), fasttext_variants.TEXTS * 40, strict=False)
    ]
    for number in range(4):
        shard(root / f"{number}.parquet", [*texts[number:], *ODD], group=7)
    for bound in ("SMALLEST", "LARGEST"):
        monkeypatch.setattr(manifest, bound, 1)
    return sum(pq.ParquetFile(root / f"{number}.parquet").num_row_groups for number in range(4))


@pytest.mark.skipif(cuda_on_host.compiler() is None, reason="no C++ compiler")
@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("share_of_host", [1, 2, 3])
@pytest.mark.parametrize("first_stage", [[], FLAGSHIP, [{"use": "pii"}]], ids=["dedup", "flagship", "host"])
def test_bytes_do_not_depend_on_which_bundles_the_cores_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_stage: list[dict[str, Any]], share_of_host: int
) -> None:
    model = fasttext_variants.builder(tmp_path)("softmax")
    stages = [{**s, "model": f"fasttext:{model}"} if "model" in s else s for s in first_stage] + STAGES
    bundles = many_bundles(tmp_path, monkeypatch)
    expected = written(tmp_path, "host", "cpu", stages, 3)
    assert not {*first_read(tmp_path, "host")} & {"bundles_on_gpu", "bundles_on_cores"}
    monkeypatch.setattr(backend, "_resolved", "gpu")
    monkeypatch.setattr(share.Share, "begin", lambda self, position, *_: position % share_of_host == 0)
    on_device = set[int]()
    wrapped = device_reader.read

    def read(dataset: Any, piece: Piece, *given: Any) -> Any:
        on_device.add(piece.shard.ordinal * 1000 + piece.start)
        assert backend.current() == "gpu"
        yield from wrapped(dataset, piece, *given)

    monkeypatch.setattr(device_reader, "read", read)
    assert written(tmp_path, "device", "gpu", stages, 4) == expected
    found = first_read(tmp_path, "device")
    by_host = -(-bundles // share_of_host)
    assert found["bundles_on_cores"] == by_host
    assert found.get("bundles_on_gpu", 0) == bundles - by_host
    assert len(on_device) == (0 if first_stage == [{"use": "pii"}] else bundles - by_host)


@pytest.mark.usefixtures("device")
def test_no_bundle_of_a_small_run_is_left_to_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundles = many_bundles(tmp_path, monkeypatch)
    expected = written(tmp_path, "host", "cpu", STAGES, 3)
    monkeypatch.setattr(backend, "_resolved", "gpu")
    left: list[tuple[int, float]] = []
    begin = share.Share.begin

    def told(self: share.Share, position: int, after: float, rows: float, now: float) -> bool:
        left.append((position, after))
        return begin(self, position, after, rows, now)

    monkeypatch.setattr(share.Share, "begin", told)
    assert written(tmp_path, "device", "gpu", STAGES, 6) == expected
    found = first_read(tmp_path, "device")
    assert (found["bundles_on_gpu"], "bundles_on_cores" in found) == (bundles, False)
    assert sorted(left) == [(position, bundles - 1 - position) for position in range(bundles)]


@pytest.mark.usefixtures("device")
def test_cores_do_bundles_while_others_feed_its_device_and_many_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundles = many_bundles(tmp_path, monkeypatch)
    expected = written(tmp_path, "host", "cpu", STAGES, 3)
    monkeypatch.setattr(backend, "_resolved", "gpu")
    monkeypatch.setattr(share, "feeding", lambda busy, held: 0.0)
    monkeypatch.setattr(share, "pays", lambda left, pace, seconds: left > 3)
    assert written(tmp_path, "device", "gpu", STAGES, 6) == expected
    found = first_read(tmp_path, "device")
    assert (found["bundles_on_cores"], found["bundles_on_gpu"]) == (bundles - 4, 4)
