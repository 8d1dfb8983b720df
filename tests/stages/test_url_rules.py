"""Rules about URLs: parts by the public suffix list, block lists of domains and words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cluster.errors import RecipeError
from stages.detect import urls as url_parts
from stages.url_rules import UrlRules


def judged(stage: UrlRules, urls: list[str | None]) -> list[str | None]:
    facts = stage.annotate(pa.table({"url": pa.array(urls, pa.large_string())}))
    assert facts.schema == stage.schema
    found = stage.decide(facts)
    return [None if code < 0 else found.reasons[code] for code in found.reason]


def file(folder: Path, name: str, *lines: str) -> str:
    (folder / name).write_text("\n".join(lines))
    return str(folder / name)


@pytest.mark.parametrize(
    ("url", "host", "domain"),
    [
        ("https://www.example.co.uk/a", "www.example.co.uk", "example.co.uk"),
        ("HTTP://User:pw@Example.COM.:8080/x?y=//z", "example.com", "example.com"),
        ("//cdn.me.github.io/x", "cdn.me.github.io", "me.github.io"),
        ("example.org/path", "example.org", "example.org"),
        ("https://www.bücher.de", "www.xn--bcher-kva.de", "xn--bcher-kva.de"),
        ("http://10.1.2.3:80/", "10.1.2.3", "10.1.2.3"),
        ("http://[2001:db8::1]/", "[2001:db8::1]", "[2001:db8::1]"),
        ("https://a.b.example.kawasaki.jp", "a.b.example.kawasaki.jp", "b.example.kawasaki.jp"),  # *.kawasaki.jp
        ("https://www.city.kawasaki.jp", "www.city.kawasaki.jp", "city.kawasaki.jp"),  # !city.kawasaki.jp
        ("http://bad.example\\@good.example/", "bad.example", "bad.example"),  # as browsers read it
        ("http://user@name@example.com", "example.com", "example.com"),
        ("", "", ""),
    ],
)
def test_host_and_registered_domain(url: str, host: str, domain: str) -> None:
    assert url_parts.host_of(url) == host
    assert (url_parts.registered_domain(host) if host else "") == domain


def test_a_domain_blocks_itself_and_what_lies_below_it(tmp_path: Path) -> None:
    listed = file(tmp_path, "adult.txt", "# list", "bad.co.uk", "0.0.0.0 sub.other.org # x", "co.uk", "github.io", "")
    stage = UrlRules(domains=(listed,))
    blocked = ["https://bad.co.uk/x", "http://a.b.bad.co.uk", "https://x.sub.other.org", "https://github.io"]
    free = ["https://good.co.uk", "https://notbad.co.uk", "https://other.org", "https://me.github.io", None, "nonsense"]
    assert judged(stage, blocked) == ["blocked_domain"] * 4
    assert judged(stage, free) == [None] * 6


def test_a_leading_dot_blocks_all_below_a_public_suffix(tmp_path: Path) -> None:
    stage = UrlRules(domains=(file(tmp_path, "l.txt", ".github.io", "*.example.com"),))
    assert judged(stage, ["https://me.github.io", "https://a.me.github.io/x"]) == ["blocked_domain"] * 2
    assert judged(stage, ["https://a.example.com", "https://example.com"]) == ["blocked_domain", None]


def test_the_entry_that_blocks_is_a_fact(tmp_path: Path) -> None:
    stage = UrlRules(domains=(file(tmp_path, "one.txt", "a.org"), file(tmp_path, "two.txt", "a.org", "b.org")))
    facts = stage.annotate(pa.table({"url": ["http://x.a.org", "http://b.org", "http://c.org"]}))
    assert facts.column("blocked_by").to_pylist() == ["one.txt:a.org", "two.txt:b.org", None]
    assert facts.column("domain").to_pylist() == ["a.org", "b.org", "c.org"]


def test_words_are_tokens_or_stand_anywhere_and_are_counted_once(tmp_path: Path) -> None:
    words = file(tmp_path, "words.txt", "Casino", "poker", "sex")
    urls = ["http://x.org/casino-CASINO", "http://essex.ac.uk", "http://poker.org/%63asino"]
    assert judged(UrlRules(words=(words,)), urls) == ["blocked_word", None, "blocked_word"]
    assert judged(UrlRules(words=(words,), match="substring"), urls) == ["blocked_word"] * 3
    assert judged(UrlRules(words=(words,), max_words=1), urls) == [None, None, "blocked_word"]


def test_lists_from_windows_and_words_of_several_tokens_are_read(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_bytes(b"\xef\xbb\xbfcasino\r\n\r\n# x\r\nfree-beer\r\n")
    stage = UrlRules(words=(str(tmp_path / "w.txt"),))
    urls: list[str | None] = ["http://a.com/%43asino", "http://a.com/free_beer.html", "http://a.com/free-beers"]
    assert judged(stage, urls) == ["blocked_word", "blocked_word", None]


def test_documents_without_url_stay_unless_one_is_required(tmp_path: Path) -> None:
    assert judged(UrlRules(), [None, "", "http://a.org"]) == [None] * 3
    assert judged(UrlRules(require_url=True), [None, "", "http://a.org"]) == ["no_url", "no_url", None]


def test_another_list_is_another_fact_and_another_limit_is_not(tmp_path: Path) -> None:
    one, two = file(tmp_path, "a.txt", "a.org"), file(tmp_path, "b.txt", "b.org")
    assert UrlRules(domains=(one,)).fact_digest() != UrlRules(domains=(two,)).fact_digest()
    assert UrlRules(domains=(one,)).fact_digest() == UrlRules(domains=(one,), max_words=3).fact_digest()


@pytest.mark.parametrize("values", [{"match": "x"}, {"max_words": -1}])
def test_a_wrong_parameter_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        UrlRules(**values)


def test_a_list_that_is_not_there_is_named() -> None:
    with pytest.raises(RecipeError, match=r"nowhere\.txt"):
        UrlRules(domains=("nowhere.txt",)).fact_digest()


# --- whole URLs, Adblock rules, words of every kind ------------------------------------------------------


def test_a_list_of_domains_holds_no_urls(tmp_path: Path) -> None:
    for entry in ("example.com/path", "https://example.com", "example.com/"):
        with pytest.raises(RecipeError, match=r"domains must list hosts, got .*name it in urls"):
            UrlRules(domains=(file(tmp_path, "l.txt", "a.org", entry),)).annotate(pa.table({"url": ["http://b.org"]}))


def test_whole_urls_are_compared_without_scheme_and_final_slash(tmp_path: Path) -> None:
    listed = file(
        tmp_path, "urls.txt", "# list", "http://example.com/foo/bar", "https://me@Two.com:443/a?q=1#x", "b.org"
    )
    blocked = ["http://example.com/foo/bar", "https://EXAMPLE.com/foo/bar/", "example.com/foo/bar#top", "s3://b.org/"]
    free = [
        "http://example.com/foo/",
        "https://example.com/foo/bar/baz",
        "http://example.com/Foo/bar",
        "http://b.org/x",
    ]
    more = ["http://two.com/a?q=1", "http://two.com/a?q=2", "http://two.com/a", "http://example.com/foo/bar?x"]
    stage = UrlRules(urls=(listed,))
    assert judged(stage, blocked) == ["blocked_url"] * 4
    assert judged(stage, free) == [None] * 4
    assert judged(stage, more) == ["blocked_url", None, None, None]
    facts = stage.annotate(pa.table({"url": ["https://b.org"]}))
    assert facts.column("url_listed").to_pylist() == ["urls.txt:b.org"]


def test_entries_may_block_below_registered_domains_only(tmp_path: Path) -> None:
    listed = file(tmp_path, "l.txt", "blocked.com", "bad.nice.com")
    urls = ["https://a.b.blocked.com/x", "https://bad.nice.com", "https://x.bad.nice.com", "https://nice.com"]
    assert judged(UrlRules(domains=(listed,)), urls) == ["blocked_domain"] * 3 + [None]
    other = UrlRules(domains=(listed,), subdomains="registered")
    assert judged(other, urls) == ["blocked_domain"] * 2 + [None] * 2


def test_adblock_rules_block_pages(tmp_path: Path) -> None:
    pytest.importorskip("adblock")
    rules = ["! list", "||bad.com^", "-ad-icon.", "@@||good.org^", "||away.org^$third-party", "||page.org^$document"]
    stage = UrlRules(adblock=(file(tmp_path, "easy.txt", *rules, "a.org##.ad"),))
    blocked = ["https://x.bad.com/a", "bad.com", "http://b.org/-ad-icon.gif", "http://page.org/"]
    assert judged(stage, blocked) == ["blocked_rule"] * 4
    assert judged(stage, ["http://good.org/-ad-icon.gif", "http://away.org", "http://a.org", None]) == [None] * 4
    facts = stage.annotate(pa.table({"url": ["https://x.bad.com/a"]}))
    assert facts.column("rule").to_pylist() == ["||bad.com^"]
    with pytest.raises(RecipeError, match=r"nowhere\.txt"):
        UrlRules(adblock=("nowhere.txt",)).fact_digest()


def test_hard_words_soft_words_and_subwords(tmp_path: Path) -> None:
    hard, soft = file(tmp_path, "hard.txt", "porn"), file(tmp_path, "soft.txt", "webcam", "escort", "live")
    sub = file(tmp_path, "sub.txt", "x-videos")
    stage = UrlRules(words=(hard,), soft_words=(soft,), subwords=(sub,))
    urls = [
        "http://a.org/porn",
        "http://a.org/webcam",
        "http://a.org/webcam-Live",
        "http://myxvid-eos.net",
        "http://pornx.de",
    ]
    assert judged(stage, urls) == ["blocked_word", None, "blocked_soft_words", "blocked_subword", None]
    assert judged(UrlRules(soft_words=(soft,), max_soft_words=0), urls[1:2]) == ["blocked_soft_words"]
    found = stage.decide(stage.annotate(pa.table({"url": urls})))
    assert (found.value[2], found.threshold[2]) == (2, 1)


def test_a_second_column_stands_in_for_a_missing_url(tmp_path: Path) -> None:
    stage = UrlRules(domains=(file(tmp_path, "l.txt", "bad.com"),), second_url="source")
    assert stage.columns() == ("url", "column:source")
    table = {"url": ["http://good.com", None, "", None], "column:source": ["http://bad.com"] * 3 + [None]}
    found = stage.decide(stage.annotate(pa.table(table)))
    assert found.reason.tolist() == [-1, 1, 1, -1]
