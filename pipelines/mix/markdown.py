"""Text of others in Markdown: shown as it is, never HTML, a link, a heading, emphasis or the end of a table's cell.

Guarantees: what recipe and data bring stays on one line and has no effect beyond its own characters, in CommonMark and
with GitHub's extensions (tables, autolinks, strikethrough, mathematics).
"""

from __future__ import annotations

import re
from typing import Any

from pipelines.shown_text import visible

_ACTS = re.compile(r"([\\`*\[\]<>|~#!&$^])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_LINKS = re.compile(r"://|www\.|@|\b(?:javascript|data|mailto|xmpp|tel):", re.IGNORECASE)  # made links without brackets


class Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def inline(value: object) -> Markdown:
    r"""Return a value as Markdown that shows it; what would become a link stands as code.

    >>> inline("cc-by_4.0 <b> [x](y)"), inline("see https://a.b")
    ('cc-by_4.0 \\<b\\> \\[x\\](y)', '`see https://a.b`')
    """
    text = _one_line(value)
    if _LINKS.search(text):
        return code(text)
    return Markdown(_ACTS.sub(lambda match: "\\" + match[0], text))


def code(value: object) -> Markdown:
    r"""Return a value as code on one line, fit for a table.

    >>> code("a|b`c")
    "`a\\|b'c`"
    """
    text = _one_line(value).replace("`", "'").replace("|", "\\|")
    return Markdown(f"`{text}`")


def table(titles: list[str], rows: list[list[Any]]) -> Markdown:
    """Return a table; numbers get thousands separators, what is not Markdown yet is escaped."""
    lines = ["| " + " | ".join(map(_cell, titles)) + " |", "|" + "---|" * len(titles)]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return Markdown("\n".join(lines))


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, Markdown) else inline(value)


def _one_line(value: object) -> str:
    return " ".join(visible(str(value)).split())
