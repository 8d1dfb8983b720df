"""The page of `winnow rules fit`: each distribution with its cut, and each language's stop words with their shares.

Guarantees: one file without script and foreign parts; every text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from pipelines.report import charts
from pipelines.report.page import stylesheet
from pipelines.shown_text import visible
from stages.languages.fit import Cut, histogram


class Learned(Protocol):
    """What the page shows of one language."""

    @property
    def tag(self) -> str: ...
    @property
    def documents(self) -> int: ...
    @property
    def words(self) -> list[tuple[str, float]]: ...
    @property
    def cuts(self) -> list[Cut]: ...
    @property
    def score(self) -> float | None: ...
    @property
    def facts(self) -> dict[str, npt.NDArray[np.float64]]: ...


def page(fitted: Sequence[Learned], method: str, share: float, how: str) -> str:
    """Return the page as HTML."""
    contents = Markup(" ").join(Markup('<a href="#{0}">{0}</a>').format(one.tag) for one in fitted)
    head = Markup(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Limits per language</title>'
        '<meta name="viewport" content="width=device-width"><style>{}</style></head><body><main>'
    ).format(stylesheet())
    said = f"method {method}" + (f", share {share:g}" if method == "tail" else "") + f", words by {how}"
    top = Markup("<h1>Limits per language</h1><p>{}</p><p>{}</p>").format(said, contents)
    return str(head + top + Markup("").join(_language(one) for one in fitted) + Markup("</main></body></html>\n"))


def _language(one: Learned) -> Markup:
    score = "" if one.score is None else f", least language score {one.score:g}"
    words = ", ".join(f"{visible(word)} {share:.2%}" for word, share in one.words)
    head = Markup('<section id="{0}"><h2>{0}</h2><p>{1:,} documents{2}</p><p>Stop words: {3}</p>').format(
        one.tag, one.documents, score, words
    )
    return head + Markup("").join(_fact(one, cut) for cut in one.cuts) + Markup("</section>")


def _fact(one: Learned, cut: Cut) -> Markup:
    edges, kept, lost = histogram(one.facts[cut.fact], cut)
    markers = [
        (x, f"{name} {charts.number(x)}") for name, x in (("min", cut.low), ("max", cut.high)) if math.isfinite(x)
    ]
    layers = [charts.Series("kept", "within", kept), charts.Series("dropped", "beyond", lost)]
    picture = charts.histogram(edges, layers, markers, f"{cut.fact} of {one.tag}")
    title = Markup("<h3>{}</h3><p>{} beyond the cut</p>").format(cut.fact, f"{cut.beyond:.2%}")
    return title + picture if isinstance(picture, Markup) else title + escape(picture)
