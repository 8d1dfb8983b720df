"""Pages show texts as they are written, and columns that the recipe names are redacted in the mix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import RecipeError
from pipelines.cli.main import main
from pipelines.explain.explain import explain
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from pipelines.runfolder import open_run

WHO = "jo.doe@example.org"
TEXTS = [
    f"A page that lives and names {WHO} in its only line.",
    f"A page that lives and names {WHO} in its only line.",  # a copy
    f"A page of poor quality that names {WHO} too.",
    "A page without anybody.\nAccept all cookies to go on",
]
URLS = [f"https://host/u/{WHO}", None, "https://host/?m=jo.doe%40example.org", "https://host/a%20b"]


def recipe(folder: Path, stages: list[dict[str, Any]], **output: Any) -> Any:
    columns = {"text": TEXTS, "url": URLS, "score": [1.0, 1.0, 0.0, 1.0], "mail": [WHO, WHO, None, "none"]}
    pq.write_table(pa.table({**columns, "n": [1, 2, 3, 4]}), folder / "in.parquet")
    data = {
        "datasets": {"d": {"paths": str(folder / "in.parquet"), "columns": {"text": "text", "url": "url"}}},
        "stages": stages,
        "output": output,
        "cluster": {"kind": "inline"},
    }
    return load_data(data, "test")


STAGES: list[dict[str, Any]] = [
    {"use": "exact_dedup"},
    {"use": "quality", "model": "column:score", "min_score": 0.5},
    {"use": "pii", "email": "hash", "salt": "pepper", "redact_columns": ["url", "mail"]},
]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    runner.run(recipe(tmp_path, STAGES, columns=["mail"]), str(tmp_path / "run"))
    return tmp_path / "run"


def pages(run: Path) -> str:
    return (run / "report.json").read_text() + (run / "report.html").read_text()


def test_report_and_explanation_show_what_is_written(made: Path) -> None:
    page = pages(made)
    assert WHO not in page
    assert "jo.doe%40" not in page
    assert "&lt;EMAIL" in page
    samples = [d["text"] for s in json.loads((made / "report.json").read_text())["samples"] for d in s["documents"]]
    written = next(open_run(str(made)).mix("d", ["text"])).column("text").to_pylist()
    assert {text for text in samples if text in written}  # of those that live, with the hash as written
    assert any("<EMAIL>" in text for text in samples)  # of one that was dropped, without a key
    for doc in range(4):
        found = json.dumps(explain(str(made), doc_id=doc))
        assert WHO not in found
        assert "jo.doe%40" not in found


def test_originals_are_shown_to_who_asks_and_to_their_owner_alone(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (made / "report.json").stat().st_mode & 0o044
    assert main(["report", str(made)]) == 0
    assert WHO not in pages(made)
    assert main(["report", str(made), "--show-original"]) == 0
    assert WHO in pages(made)
    assert {(made / name).stat().st_mode & 0o777 for name in ("report.json", "report.html")} == {0o600}
    assert WHO in json.dumps(explain(str(made), doc_id=0, show_original=True))
    capsys.readouterr()
    assert main(["explain", str(made), "--doc-id", "2", "--json"]) == 0
    assert WHO not in capsys.readouterr().out
    assert main(["explain", str(made), "--doc-id", "2", "--json", "--show-original"]) == 0
    assert WHO in capsys.readouterr().out


def test_columns_that_the_recipe_names_are_redacted_in_the_mix(made: Path) -> None:
    table = pa.concat_tables(open_run(str(made)).mix("d", ["text", "url", "mail"])).to_pylist()
    by_text = {row["text"][:20]: row for row in table}
    assert len(table) == 2
    first, last = by_text[TEXTS[0][:20]], by_text[TEXTS[3][:20]]
    tag = first["mail"]
    assert tag.startswith("<EMAIL-")
    assert first["url"] == f"https://host/u/{tag}"
    assert tag in first["text"]
    assert (last["mail"], last["url"]) == ("none", "https://host/a%20b")
    assert WHO.encode() not in b"".join(p.read_bytes() for p in (made / "mix").rglob("*") if p.is_file())


def test_what_stands_encoded_in_a_url_is_found(tmp_path: Path) -> None:
    stages = [{"use": "pii", "redact_columns": ["url"]}]
    runner.run(recipe(tmp_path, stages), str(tmp_path / "run"), with_report=False)
    urls = pa.concat_tables(open_run(str(tmp_path / "run")).mix("d", ["url"])).column("url").to_pylist()
    assert sorted(map(str, urls)) == sorted(
        ["https://host/u/<EMAIL>", "None", "https://host/?m=<EMAIL>", "https://host/a%20b"]
    )


def test_a_changed_list_of_columns_writes_the_mix_anew(tmp_path: Path) -> None:
    for columns in ([], ["url"]):
        stages = [{"use": "pii", "redact_columns": columns}]
        runner.run(recipe(tmp_path, stages), str(tmp_path / "run"), with_report=False)
    urls = pa.concat_tables(open_run(str(tmp_path / "run")).mix("d", ["url"])).column("url").to_pylist()
    assert WHO not in str(urls)


@pytest.mark.parametrize(
    ("columns", "match"), [(["nowhere"], "no column nowhere"), (["n"], "has type int64"), (["text"], "other columns")]
)
def test_a_column_that_cannot_be_redacted_stops_the_run(tmp_path: Path, columns: list[str], match: str) -> None:
    stages = [{"use": "pii", "redact_columns": columns}]
    with pytest.raises(RecipeError, match=match):
        runner.run(recipe(tmp_path, stages, columns=["n"]), str(tmp_path / "run"), with_report=False)
    assert not (tmp_path / "run" / "mix").exists()
