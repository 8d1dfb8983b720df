"""Personal data: what is found, what is not, and what is written in its place."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import RecipeError
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.core import edits
from stages.detect.personal_data import find, iban_length
from stages.detect.spans import with_white_space
from stages.pii import Pii, builtin

FOUND = [
    ("mail a.b+c@mail.example.co.uk, please", "a.b+c@mail.example.co.uk", "email"),
    ("(x_y@example.com)", "x_y@example.com", "email"),
    ("邮箱abc@example.cn或者", "abc@example.cn", "email"),
    ("an josé.garcía@ejemplo.es und", "josé.garcía@ejemplo.es", "email"),
    ("(почта@пример.рф)", "почта@пример.рф", "email"),
    ("用户 张三@例子.中国 好", "张三@例子.中国", "email"),
    ("지원 abc@example.com으로", "abc@example.com", "email"),
    ("8.8.8.8 is a resolver, as the driver says", "8.8.8.8", "ip"),
    ("release notes\nDNS 1.1.1.1", "1.1.1.1", "ip"),
    ("from 8.8.8.8 port 80", "8.8.8.8", "ip"),
    ("host 2001:4860:4860::8888.", "2001:4860:4860::8888", "ip"),
    ("call (212) 555-0100 now", "(212) 555-0100", "phone"),
    ("1-212-555-0100", "1-212-555-0100", "phone"),
    ("ring +49 (0)30 1234567.", "+49 (0)30 1234567", "phone"),
    ("+33 1 23 45 67 89", "+33 1 23 45 67 89", "phone"),
    ("0044 20 7946 0958", "0044 20 7946 0958", "phone"),
    ("au 01 23 45 67 89 svp", "01 23 45 67 89", "phone"),
    ("London (020) 7946 0958", "(020) 7946 0958", "phone"),
    ("Berlin 030/1234567", "030/1234567", "phone"),
    ("tokyo 03-1234-5678", "03-1234-5678", "phone"),
    ("Tel.: 555 1234 ext", "555 1234", "phone"),
    ("card 4111 1111 1111 1111 ok", "4111 1111 1111 1111", "credit_card"),
    ("378282246310005", "378282246310005", "credit_card"),
    ("to DE89 3704 0044 0532 0130 00 BIC X", "DE89 3704 0044 0532 0130 00", "iban"),
    ("GB82WEST12345698765432", "GB82WEST12345698765432", "iban"),
]
NOT_FOUND = [
    "image@2x.png and user@localhost",
    "10.0.0.1 127.0.0.1 192.168.1.1 169.254.0.1 300.1.1.1",
    "version v1.2.3.4, section 1.2.3.4.5",
    "Version 1.2.3.4, upgraded from 1.2.3.3 to 1.2.3.4; firmware: 9.8.7.6; version 20.100.3.77",
    'intro\n4.2.2.1. Name\n\n 4.2.2.2 Synopsis\nsee Section 34.5.1.4 and OID ("2.5.29.24")',
    "Wx 2.1\nWx 2.0.1.3\nWx 2.0.1",
    "on 11-Aug-2005::15:31:55",
    "010| 001 000 011 010 101 100\n05| 04 08 10 02 06 11 00",
    "1279 60 0 1313 7 0",
    "4111 11 1111 1111 11",  # no grouping of a card
    "::1 fe80::1 fc00::1 std::cout add::bed 12:34:56",
    "4111 1111 1111 1112",  # fails Luhn's check
    "1234567890123456",  # no issuer
    "DE88 3704 0044 0532 0130 00 and XX89370400440532013000",
    "on 2020-01-02 12:30:45 there were 1,234,567 of 3.14159265358979",
    "ISBN 978-3-16-148410-0",
    "0.123 4567 and id 0123456789",
]


@pytest.mark.parametrize(("text", "span", "kind"), FOUND)
def test_personal_data_is_found_with_its_bounds(text: str, span: str, kind: str) -> None:
    data = text.encode()
    assert [(data[a:b].decode(), k) for a, b, k in find(data)] == [(span, kind)]


@pytest.mark.parametrize("text", NOT_FOUND)
def test_what_only_looks_like_personal_data_is_left_alone(text: str) -> None:
    assert find(text.encode()) == []


PIECES = [*(text for text, _, _ in FOUND), *NOT_FOUND, *"@.:+-() 0189aAfZ\u00a0é\u2011\n"]


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), max_size=4))
def test_looking_into_windows_finds_all_that_looking_everywhere_finds(texts: list[str]) -> None:
    got = {row: items for row, _, items in builtin(pa.array(texts, pa.large_string()))}
    want = {row: items for row, text in enumerate(texts) if (items := find(text.encode()))}
    assert got == want


@given(st.text("0123456789@.:ab DE+-()", max_size=60))
def test_windows_miss_nothing_in_any_text(text: str) -> None:
    got = [items for _, _, items in builtin(pa.array([text], pa.large_string()))]
    assert (got[0] if got else []) == find(text.encode())


def test_ibans_have_the_length_of_their_country() -> None:
    assert (iban_length("GB"), iban_length("MT"), iban_length("XX")) == (22, 31, 0)
    assert find(b"GB83WEST12345698765432") == find(b"GB82WEST1234569876543") == []


def rewritten(stage: Pii, texts: list[str]) -> list[str]:
    column = pa.array(texts, pa.large_string())
    facts = stage.annotate(pa.table({"text": column}))
    assert facts.schema == stage.schema
    return list(edits.apply(column, edits.merge([stage.edits(facts)])).to_pylist())


def test_modes_replace_hash_drop_and_keep() -> None:
    texts = ["é a@example.com, A@example.com +49 30 1234567!", "none", "8.8.8.8"]
    assert rewritten(Pii(), texts) == ["é <EMAIL>, <EMAIL> <PHONE>!", "none", "<IP>"]
    assert rewritten(Pii(email="drop", phone="keep", ip="drop"), texts) == ["é ,  +49 30 1234567!", "none", ""]
    own = Pii(replacements=("email=email@example.com", "ip=1.2.3.4"))
    assert rewritten(own, texts)[0] == "é email@example.com, email@example.com <PHONE>!"
    hashed = rewritten(Pii(email="hash"), texts)[0].split()
    assert hashed[1].rstrip(",") == hashed[2]  # the same address in another case
    assert rewritten(Pii(email="hash", salt="s"), texts)[0] != rewritten(Pii(email="hash"), texts)[0]


def test_a_number_written_in_two_ways_has_one_hash() -> None:
    one, two = rewritten(Pii(credit_card="hash"), ["4111 1111 1111 1111", "4111111111111111"])
    assert one == two


def test_modes_change_no_fact() -> None:
    assert Pii().fact_digest() == Pii(email="hash", max_found=3, replacements=("ip=x",)).fact_digest()
    assert Pii().fact_digest() != Pii(salt="x").fact_digest()


def test_too_much_personal_data_drops_a_document() -> None:
    stage = Pii(max_found=1)
    column = pa.array(["a@example.com", "a@example.com b@example.com"], pa.large_string())
    verdict = stage.decide(stage.annotate(pa.table({"text": column})))
    assert verdict.reason.tolist() == [-1, 0]
    assert (verdict.value[1], verdict.threshold[1]) == (2, 1)


@given(st.text(" \u3000\u2003\nab", max_size=9), st.integers(0, 8), st.integers(0, 8))
def test_white_space_around_a_span_is_known(text: str, a: int, b: int) -> None:
    a, b = sorted((min(a, len(text)), min(b, len(text))))
    left = len(text[:a].rstrip().encode()) if text[:a].strip() else 0
    right = len((text + ".").encode()) - len((text[b:] + ".").lstrip().encode())
    start, stop = len(text[:a].encode()), len(text[:b].encode())
    assert with_white_space(text.encode(), start, stop) == (left, right)


def test_presidio_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(RecipeError, match=r"winnow-mix\[presidio\]"):
        Pii(detector="presidio").annotate(pa.table({"text": pa.array(["x"], pa.large_string())}))


def test_what_presidio_finds_is_put_into_bytes_and_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stages.detect import presidio

    class Engine:
        supported_languages = ("en",)

        def get_supported_entities(self, language: str) -> list[str]:
            return ["PERSON"]

        def analyze(self, text: str, entities: list[str], language: str) -> list[Any]:
            assert len(text) <= presidio.MOST_CHARS
            found = re.finditer("Ann", text)
            return [SimpleNamespace(entity_type="PERSON", start=m.start(), end=m.end()) for m in found]

    module = ModuleType("presidio_analyzer")
    module.AnalyzerEngine = Engine  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "presidio_analyzer", module)
    presidio.analyzer.cache_clear()
    stage = Pii(detector="presidio", entities=("PERSON",))
    assert rewritten(stage, ["éé Ann!", "none"]) == ["éé <PERSON>!", "none"]
    monkeypatch.setattr(presidio, "MOST_CHARS", 100)
    for long in ("é Ann" * 60, "Ann é\n" * 60, "x" * 250 + " Ann"):
        assert rewritten(stage, [long]) == [long.replace("Ann", "<PERSON>")]
    with pytest.raises(RecipeError, match=r"entities holds NOBODY; for en Presidio finds PERSON"):
        rewritten(Pii(detector="presidio", entities=("NOBODY",)), ["x"])
    with pytest.raises(RecipeError, match=r"'xx' is not among those .*: en"):
        rewritten(Pii(detector="presidio", language="xx"), ["x"])
    with pytest.raises(RecipeError, match=r"presidio_config .*none.yaml cannot be read"):
        rewritten(Pii(detector="presidio", presidio_config=str(tmp_path / "none.yaml")), ["x"])
    presidio.analyzer.cache_clear()


@pytest.mark.parametrize(
    "values", [{"replacements": ("mail=x",)}, {"email": "burn"}, {"entities": ("PERSON",)}, {"presidio_config": "x"}]
)
def test_a_wrong_parameter_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        Pii(**values)


def run(
    folder: Path, rows: list[dict[str, str]], stages: list[dict[str, Any]]
) -> tuple[list[str], list[dict[str, Any]]]:
    """Run the stages; return the texts of the mix and the ledger."""
    folder.mkdir(exist_ok=True)
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"datasets": {"web": {"paths": str(folder / "in.jsonl")}}, "stages": stages, "cluster": {"kind": "inline"}}
    runner.run(load_data(data, "test"), str(folder / "run"))
    mix = pads.dataset(sorted(map(str, (folder / "run" / "mix").rglob("*.parquet")))).to_table()
    ledger = pq.read_table(str(folder / "run" / "ledger" / "0.parquet")).to_pylist()
    places = dict(zip(mix.column("doc_id").to_pylist(), mix.to_pylist(), strict=True))
    for row in ledger:
        if row["kept"]:
            assert places[row["doc_id"]]["num_tokens"] == row["num_tokens"]
    return [places[doc]["text"] for doc in sorted(places)], ledger


def test_a_run_writes_rewritten_texts_and_counts_those_of_which_nothing_is_left(tmp_path: Path) -> None:
    rows = [{"text": t} for t in ("write to a@example.com", " a@example.com \n b@example.com ", "plain", "8.8.8.8 ok")]
    texts, ledger = run(tmp_path, rows, [{"use": "pii", "email": "drop"}])
    assert texts == ["write to ", "plain", "<IP> ok"]
    assert [(r["stage"], r["reason"]) for r in ledger] == [
        (None, None),
        ("rewrite", "nothing_left"),
        *[(None, None)] * 2,
    ]
    assert [r["num_tokens"] for r in ledger] == [3, 2, 2, 2]
    facts = {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "facts").rglob("*.arrow")}
    texts, ledger = run(tmp_path, rows, [{"use": "pii"}])
    assert texts[:2] == ["write to <EMAIL>", " <EMAIL> \n <EMAIL> "]
    assert facts == {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "facts").rglob("*.arrow")}
