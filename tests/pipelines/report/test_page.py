"""The page: no text of a document can do anything to it, and it needs nothing but itself."""

from __future__ import annotations

import base64
import errno
import hashlib
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipelines.report import page as page_module
from pipelines.report.page import render_page
from pipelines.shown_text import visible
from tests.support import run_folders
from tests.support.small_reports import minimal_report

FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Parsed(HTMLParser):
    """Collects the elements of a page, their attributes and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_hostile_text_is_shown_and_inert(page: str, found: dict[str, Any]) -> None:
    parsed = Parsed(page)
    text = "".join(parsed.words)
    shown = [d["text"] for g in found["samples"] for d in g["documents"] if d["text"]]
    assert any("evil-" in (d["id"] or "") for g in found["samples"] for d in g["documents"])
    assert all(visible(t) in text for t in shown)
    assert not FORBIDDEN.search(page)
    tags = Counter(tag for tag, _ in parsed.elements)
    assert tags["script"] == tags["style"] == 1
    assert not {"img", "iframe", "object", "link", "base", "form"} & set(tags)
    for tag, attributes in parsed.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        assert (attributes.get("href") or "#").startswith("#")


def test_each_kind_of_hostile_text_leaves_the_page_whole() -> None:
    for text in run_folders.HOSTILE:
        page = render_page(minimal_report(text))
        assert not FORBIDDEN.search(page)
        parsed = Parsed(page)
        assert visible(text).strip() in "".join(parsed.words)
        assert Counter(t for t, _ in parsed.elements)["script"] == 1
        assert [a for t, a in parsed.elements if t == "h1"] == [{}]


def test_the_page_says_where_an_audit_compared_a_part_of_the_pairs() -> None:
    words = "".join(Parsed(render_page(minimal_report("x"))).words)
    assert "9 have 123,456 pairs near the threshold, too many to compare" in words


def test_the_page_needs_nothing_and_allows_only_its_own_style_and_script(page: str) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    rules = policy[1].replace("&#39;", "'")
    assert rules.startswith("default-src 'none'")
    assert "unsafe" not in rules
    for tag in ("style", "script"):
        (body,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in rules
        assert "url(" not in body
        assert "http" not in body
    assert len(page) < 3_000_000


def test_every_chart_says_its_numbers_to_those_who_do_not_see_it(page: str) -> None:
    charts = [a for t, a in Parsed(page).elements if t == "svg" and a.get("class")]
    assert charts
    assert all(a.get("role") == "img" and a.get("aria-label") for a in charts)
    regions = [a for _, a in Parsed(page).elements if a.get("tabindex") == "0"]
    assert all(a.get("aria-label") for a in regions)


def test_compiled_templates_are_kept_and_a_full_disk_is_no_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module.kernel_cache, "folder", lambda: tmp_path / "kernels")
    first = render_page(minimal_report("text"))
    assert len(list((tmp_path / "kernels").glob("pages-*/*"))) == 1
    assert render_page(minimal_report("text")) == first
    [kept] = (tmp_path / "kernels").glob("pages-*/*")
    kept.write_bytes(kept.read_bytes()[:99])  # cut short by a power cut
    assert render_page(minimal_report("text")) == first
    (tmp_path / "file").touch()
    monkeypatch.setattr(page_module.kernel_cache, "folder", lambda: tmp_path / "file")
    assert render_page(minimal_report("text")) == first
    monkeypatch.setattr(page_module.kernel_cache, "folder", lambda: tmp_path / "full")
    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    assert render_page(minimal_report("text")) == first


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "no space left on device")
