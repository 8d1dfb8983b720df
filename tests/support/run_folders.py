"""Small finished runs to look at: a corpus with copies, junk and hostile texts, run through a whole recipe."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from tests.support import corpora

NEAR = {"use": "near_dedup", "jaccard_threshold": 0.7, "bands": 32, "rows_per_band": 4}
STAGES: list[dict[str, Any]] = [
    {"use": "exact_dedup"},
    {"use": "minhash", "shingle_width": 8},
    NEAR,
    {"use": "quality", "model": "column:score", "min_score": 0.3},
]
MIX = {"mode": "sample", "target_tokens": 9000, "weights": {"a": 1, "b": 3, "c": 1}, "max_epochs": {"a": 1, "b": 2}}
HOSTILE = [
    "<script>window.pwned=1;document.title='pwned'</script>",
    "</div></section><h1>broken</h1><img src=x onerror=window.pwned=1><svg onload=window.pwned=1>",
    "</script></style><style>*{display:none}</style>{{ 7*7 }}{% raw %}",
    "right to left: \u202e gnp.exe \u2066 isolated, never closed",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd and \u0645\u0631\u062d\u0628\u0627",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f600 e\u0301\u0323\u0323\u0323",
    "nul\x00 bell\x07 \x1b[31mred\x1b[0m \x9b31m \r over\x7f",
    '" onmouseover="window.pwned=1" x="',
    "[bold red]not markup[/bold red] [link=file:///]x[/link]",
]


def hostile_documents() -> list[corpora.Document]:
    """Return every hostile text as a kept document, a near copy of it, and one of low quality."""
    made = []
    for n, text in enumerate(HOSTILE):
        for k, dataset in enumerate("abc"):
            body = f"{text} number{n} " + " ".join(f"filler{n}x{i}" for i in range(40)) + " more" * (k == 1)
            body = body if k < 2 else f"{text} of low quality {n}"
            url = "javascript:window.pwned=1" if k else "https://x.example/<b>"
            made.append(
                {
                    "dataset": dataset,
                    "text": body,
                    "id": f"<b>evil-{n}-{k}\u202e",
                    "url": url,
                    "score": 0.9 if k < 2 else 0.1,
                }
            )
    return made


def make(folder: Path, *, stages: list[dict[str, Any]] = STAGES, seed: int = 3, **more: Any) -> Path:
    """Run a recipe over a corpus in `folder` and return the run folder."""
    documents = corpora.corpus(seed, 300) + hostile_documents()
    paths = corpora.write(folder / "in", documents, 2)
    columns = {"text": "text", "id": "id", "url": "url"}
    datasets = {name: {"paths": path, "columns": columns} for name, path in sorted(paths.items())}
    datasets["a"]["licence"] = "odc-by"
    data = {
        "name": "test-mix",
        "seed": 5,
        "datasets": datasets,
        "stages": stages,
        "mix": MIX,
        "cluster": {"kind": "inline"},
        **more,
    }
    runner.run(load_data(data, "test"), str(folder / "run"))
    return folder / "run"


def copy(run: Path, target: Path, *, without: tuple[str, ...] = ()) -> Path:
    """Return a copy of a run folder, some of its parts left out."""
    shutil.copytree(run, target)
    for name in without:
        shutil.rmtree(target / name)
    return target


def ledger(run: Path) -> list[dict[str, Any]]:
    """Return the whole ledger as rows."""
    files = sorted((run / "ledger").glob("*.parquet"), key=lambda p: int(p.stem))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def change_ledger(run: Path, doc_id: int, **values: Any) -> None:
    """Overwrite fields of one ledger row."""
    path = run / "ledger" / f"{doc_id >> 32}.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[doc_id & 0xFFFFFFFF].update(values)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def amount(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Return documents and tokens of ledger rows, as the report has them."""
    return {"documents": len(rows), "tokens": sum(r["num_tokens"] for r in rows)}
