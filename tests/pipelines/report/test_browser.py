"""The report in a real headless browser; skipped where none is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support import browser, run_folders

pytestmark = pytest.mark.skipif(browser.find() is None, reason="no Chromium is installed")
WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folders.make(tmp_path_factory.mktemp("browser")) / "report.html"


def look(tmp_path: Path, report: Path, check: Callable[[browser.Page], Awaitable[None]]) -> None:
    async def session() -> None:
        async with browser.start(tmp_path / "profile") as page:
            await page.open(report.as_uri())
            await check(page)

    asyncio.run(session())


def test_the_page_is_silent_asks_for_nothing_and_hostile_text_does_nothing(tmp_path: Path, report: Path) -> None:
    async def check(page: browser.Page) -> None:
        await page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        await asyncio.sleep(0.3)
        assert page.messages == []
        assert page.requests == [report.as_uri()]
        assert await page.evaluate("window.pwned") is None
        assert await page.evaluate("document.title") == "test-mix: winnow report"
        assert await page.evaluate("document.scripts.length") == 1
        assert await page.evaluate("document.body.innerText.includes('window.pwned=1')")

    look(tmp_path, report, check)


def test_the_policy_stops_what_the_page_did_not_bring(tmp_path: Path, report: Path) -> None:
    async def check(page: browser.Page) -> None:
        await page.evaluate(
            "(() => { const s = document.createElement('script'); s.textContent = 'window.foreign = 1';"
            "document.body.append(s); document.body.setAttribute('onclick', 'window.foreign = 2');"
            "document.body.click(); })()"
        )
        assert await page.evaluate("window.foreign") is None
        assert any("Content Security Policy" in m for m in page.messages)

    look(tmp_path, report, check)


def test_charts_are_drawn_in_the_colours_of_both_schemes(tmp_path: Path, report: Path) -> None:
    colour = "getComputedStyle(document.querySelector('rect.kept')).fill"

    async def check(page: browser.Page) -> None:
        seen = set()
        for scheme in ("light", "dark"):
            await page.prefer(scheme)
            seen.add(await page.evaluate(colour))
            dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, dark[4:-1].split(","))) < 200) == (scheme == "dark")
        assert len(seen) == 2
        drawn = "[...document.querySelectorAll('svg.plot rect')].filter(r => r.getBoundingClientRect().height > 0)"
        assert await page.evaluate(f"{drawn}.length") > 10
        assert await page.evaluate("document.querySelector('polyline').getBoundingClientRect().width") > 100

    look(tmp_path, report, check)


def test_no_page_wide_scrolling_at_phone_width(tmp_path: Path, report: Path) -> None:
    async def check(page: browser.Page) -> None:
        await page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        for width in (320, 390, 1200):
            await page.resize(width)
            assert not await page.evaluate(WIDE), width

    look(tmp_path, report, check)


def test_units_sorting_and_details_work_by_keyboard(tmp_path: Path, report: Path) -> None:
    async def check(page: browser.Page) -> None:
        await page.resize(1000)
        visible = "getComputedStyle(document.querySelector('.cards .tok')).display != 'none'"
        assert not await page.evaluate(visible)
        await page.evaluate("document.getElementById('unit-documents').focus()")
        await page.press("ArrowRight", 39)
        assert await page.evaluate(visible)
        await page.evaluate("document.querySelector('table.sortable thead th:nth-child(6) button').focus()")
        rows = "[...document.querySelector('table.sortable').tBodies[0].rows].map(r => +r.cells[5].dataset.tok)"
        for _ in range(2):
            await page.press("Enter", 13, "\r")
            order = await page.evaluate("document.querySelector('table.sortable th[aria-sort]').ariaSort")
            found = await page.evaluate(rows)
            assert found == sorted(found, reverse=order == "descending")
        await page.evaluate("document.querySelector('#samples summary').focus()")
        await page.press("Enter", 13, "\r")
        assert await page.evaluate("document.querySelector('#samples details').open")

    look(tmp_path, report, check)


def test_the_first_tab_stop_skips_to_the_numbers(tmp_path: Path, report: Path) -> None:
    async def check(page: browser.Page) -> None:
        await page.press("Tab", 9)
        assert await page.evaluate("document.activeElement.className") == "skip"
        assert await page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0

    look(tmp_path, report, check)
