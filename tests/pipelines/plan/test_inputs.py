"""What a drawn sample tells of the whole, and that a seed draws the same rows."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.plan.extent import sizes
from pipelines.plan.inputs import draw, survey
from stages.core.shard import Dataset


def many(folder: Path, files: int, rows: int) -> Dataset:
    rng = random.Random(1)
    folder.mkdir()
    for n in range(files):
        texts = [" ".join(f"w{rng.randrange(999)}" for _ in range(rng.randrange(20, 60))) for _ in range(rows)]
        lines = "".join(json.dumps({"text": t}) + "\n" for t in texts)
        if n % 2:
            (folder / f"{n:03d}.jsonl").write_text(lines)
        else:
            pq.write_table(pa.table({"text": texts}), folder / f"{n:03d}.parquet", row_group_size=50)
    return Dataset(name="d", paths=(str(folder),))


def test_a_drawn_sample_tells_documents_and_bytes_of_the_whole(tmp_path: Path) -> None:
    found = survey(many(tmp_path / "in", 6, 400))
    drawn = draw(found, 300, 0, str(tmp_path / "out"))
    texts = [t for p in Path(tmp_path / "out").glob("*.parquet") for t in pq.read_table(p)["text"].to_pylist()]
    lines = [p.read_text().splitlines() for p in Path(tmp_path / "out").glob("*.jsonl")]
    texts += [json.loads(line)["text"] for part in lines for line in part]
    assert len(texts) == drawn.rows == 300
    size = sizes(found, drawn, sum(len(t.encode()) for t in texts))
    assert size.documents == pytest.approx(2400, rel=0.05)
    whole = sum(len(t) for p in (tmp_path / "in").glob("*.parquet") for t in pq.read_table(p)["text"].to_pylist())
    assert size.text_bytes == pytest.approx(2 * whole, rel=0.1)
    assert not size.exact


def test_the_same_seed_draws_the_same_rows(tmp_path: Path) -> None:
    found = survey(many(tmp_path / "in", 4, 200))
    for place in ("one", "two"):
        draw(found, 60, 7, str(tmp_path / place))
    names = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "two").iterdir())
    assert all((tmp_path / "one" / n).read_bytes() == (tmp_path / "two" / n).read_bytes() for n in names)
