"""Explanations agree with the ledger, find documents by every handle, and print hostile text harmlessly."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from cluster.errors import LedgerError, RecipeError
from cluster.files.sealed import commit_sealed
from pipelines.explain.explain import explain
from pipelines.explain.view import render_explanation
from pipelines.runfolder import open_run
from tests.support import run_folders


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folders.make(tmp_path_factory.mktemp("explain"))


@pytest.fixture(scope="module")
def rows(run: Path) -> dict[int, dict[str, Any]]:
    return {r["doc_id"]: r for r in run_folders.ledger(run)}


def one(run: Path, **key: Any) -> dict[str, Any]:
    found = explain(str(run), **key)
    json.dumps(found, allow_nan=False)
    assert found["found"] == 1
    return found["documents"][0]


def test_decisions_come_in_order_and_are_those_of_the_ledger(run: Path, rows: dict[int, dict[str, Any]]) -> None:
    for stage in ("read", "exact_dedup", "near_dedup", "quality", None):
        row = next(r for r in rows.values() if r["stage"] == stage)
        document = one(run, doc_id=row["doc_id"])
        assert document["kept"] == row["kept"]
        names = [d["stage"] for d in document["decisions"]]
        assert names == ["read", "exact_dedup", "minhash", "near_dedup", "quality"]
        at = len(names) if stage is None else names.index(stage)
        verdicts = [d["verdict"] for d in document["decisions"]]
        assert verdicts == ["passed"] * at + ["dropped"] * (stage is not None) + ["not reached"] * (4 - at)
        if stage is not None:
            step = document["decisions"][at]
            assert {k: step[k] for k in ("reason", "value", "threshold")} == {
                k: row[k] for k in ("reason", "value", "threshold")
            }
            assert stage in document["verdict"]


def test_the_values_that_let_a_document_pass_are_told(run: Path, rows: dict[int, dict[str, Any]]) -> None:
    row = next(r for r in rows.values() if r["kept"])
    document = one(run, doc_id=row["doc_id"])
    quality = document["decisions"][-1]
    assert quality["value"] == document["facts"]["quality"]["quality_score"] >= quality["threshold"] == 0.3
    assert "128 values" in document["facts"]["minhash"]["signature"]
    assert document["facts_missing"] is None


def test_the_chain_of_losses_ends_at_the_survivor(run: Path, rows: dict[int, dict[str, Any]]) -> None:
    twice = [
        r for r in rows.values() if r["representative"] is not None and rows[r["representative"]]["stage"] is not None
    ]
    once = [r for r in rows.values() if r["stage"] == "near_dedup" and rows[r["representative"]]["kept"]]
    for row in [*twice[:3], *once[:3]]:
        document = one(run, doc_id=row["doc_id"])
        follow, chain = row, []
        while follow["representative"] is not None:
            chain.append((follow["stage"], follow["representative"], follow["similarity"]))
            follow = rows[follow["representative"]]
        assert [(c["stage"], c["doc_id"], c["similarity"]) for c in document["lost_to"]] == chain
        assert (document["survivor"] or {}).get("doc_id") == row["survivor"]
        comparison = document["comparison"]
        assert comparison["kept"]["doc_id"] == row["representative"]
        assert comparison["similarity_kind"] == row["similarity_kind"]
        assert comparison["difference"]["same_words"] > 0


def test_the_group_is_everything_that_ended_at_the_survivor(run: Path, rows: dict[int, dict[str, Any]]) -> None:
    largest = max((r for r in rows.values() if r["kept"]), key=lambda r: (r["group_size"], -r["doc_id"]))
    group = one(run, doc_id=largest["doc_id"])["group"]
    members = [r["doc_id"] for r in rows.values() if r["survivor"] == largest["doc_id"] and not r["kept"]]
    assert group["size"] == len(members) + 1
    assert [m["doc_id"] for m in group["members"]] == members
    assert one(run, doc_id=members[0])["group"] == group


def test_documents_are_found_by_id_url_and_text(run: Path, rows: dict[int, dict[str, Any]]) -> None:
    texts = open_run(str(run)).texts(rows)
    for row in list(rows.values())[::40]:
        mine = texts[row["doc_id"]]
        assert one(run, id=row["id"])["doc_id"] == row["doc_id"]
        if mine.text.strip():
            same = [d for d in texts if texts[d].text == mine.text]
            for form in (mine.text, mine.text + "\n"):
                found = explain(str(run), text=form)
                assert [d["doc_id"] for d in found["documents"]] == same
        if mine.url is not None:
            found = explain(str(run), url=mine.url)
            every = [d["doc_id"] for d in found["documents"]] + found["more"]
            assert sorted(every) == [d for d in sorted(texts) if texts[d].url == mine.url]
            assert found["found"] == len(every)


def test_urls_are_found_without_scheme_case_fragment_or_final_slash(run: Path) -> None:
    url = "https://x.example/<b>"
    exact = explain(str(run), url=url)
    assert exact["match"] == "exact"
    for form in ("http://x.example/<b>", "X.example/<b>/", url + "#part", url + "/"):
        found = explain(str(run), url=form)
        assert found["match"] == "alike"
        assert [d["doc_id"] for d in found["documents"]] == [d["doc_id"] for d in exact["documents"]]
    with pytest.raises(RecipeError, match="everything else must be as in the input"):
        explain(str(run), url="https://x.example/<b>/page")


def test_a_changed_text_finds_its_near_duplicates(run: Path, rows: dict[int, dict[str, Any]]) -> None:
    texts = open_run(str(run)).texts(rows)
    kept = next(d for d, r in rows.items() if r["kept"] and (r["id"] or "").startswith("<b>evil"))
    changed = texts[kept].text.replace("filler", "FILLER", 1) + " one two"
    found = explain(str(run), text=changed)
    assert found["match"] == "near"
    assert kept in [d["doc_id"] for d in found["documents"]]
    near = [d["resemblance"]["similarity"] for d in found["documents"]]
    assert near == sorted(near, reverse=True)
    assert near[0] > 0.6
    assert ["other", "one two"] in found["documents"][0]["resemblance"]["difference"]["left"]
    out = io.StringIO()
    Console(file=out, width=120, color_system=None).print(render_explanation(found))
    assert "near duplicates, the most similar first" in out.getvalue()
    assert "the given text" in out.getvalue()


def test_what_is_not_there_or_asked_twice_is_an_error_that_helps(run: Path) -> None:
    with pytest.raises(RecipeError, match=r"no document with id 'nobody' among the .* column id of the ledger"):
        explain(str(run), id="nobody")
    with pytest.raises(RecipeError, match=r"no document with doc_id 123456789012"):
        explain(str(run), doc_id=123456789012)
    with pytest.raises(RecipeError, match="part of a text is not found"):
        explain(str(run), text="unheard of")
    with pytest.raises(RecipeError, match=r"exactly one of .*, got none"):
        explain(str(run))
    with pytest.raises(RecipeError, match=r"exactly one of .*, got id, url"):
        explain(str(run), id="a", url="b")


def test_without_facts_the_ledger_still_explains(run: Path, rows: dict[int, dict[str, Any]], tmp_path: Path) -> None:
    bare = run_folders.copy(run, tmp_path / "bare", without=("facts", "decisions"))
    row = next(r for r in rows.values() if r["stage"] == "quality")
    document = one(bare, doc_id=row["doc_id"])
    assert [d["verdict"] for d in document["decisions"]] == ["passed"] * 4 + ["dropped"]
    assert document["facts"] == {}
    assert document["facts_missing"]


def test_a_forged_ledger_in_which_documents_represent_each_other_ends(
    run: Path, rows: dict[int, dict[str, Any]], tmp_path: Path
) -> None:
    forged = run_folders.copy(run, tmp_path / "forged")
    lost = next(row for row in rows.values() if row["representative"] is not None)
    path = forged / "ledger" / f"{lost['representative'] >> 32}.parquet"
    table = pq.read_table(path)
    at = table.column("doc_id").to_pylist().index(lost["representative"])
    winners = table.column("representative").to_pylist()
    winners[at] = lost["doc_id"]
    place = table.schema.get_field_index("representative")
    table = table.set_column(place, table.schema.field(place), pa.array(winners, table.schema.field(place).type))
    path.unlink()
    with commit_sealed(str(path)) as file:
        pq.write_table(table, file)
    with pytest.raises(LedgerError, match="in a circle"):
        explain(str(forged), doc_id=lost["doc_id"])


def test_hostile_text_reaches_the_terminal_as_plain_text(run: Path, rows: dict[int, dict[str, Any]]) -> None:
    evil = [r for r in rows.values() if (r["id"] or "").startswith("<b>evil")]
    assert len(evil) == 3 * len(run_folders.HOSTILE)
    for row in evil:
        out = io.StringIO()
        console = Console(file=out, width=200, force_terminal=False, color_system=None)
        console.print(render_explanation(explain(str(run), doc_id=row["doc_id"])))
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", out.getvalue())
    assert any("[bold red]not markup[/bold red]" in _printed(run, r["doc_id"]) for r in evil)


def _printed(run: Path, doc: int) -> str:
    out = io.StringIO()
    Console(file=out, width=300, color_system=None).print(render_explanation(explain(str(run), doc_id=doc)))
    return out.getvalue()
