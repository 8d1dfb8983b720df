"""Whether a rewritten text is usable: length, language, copying, refusals, traces of the prompt.

Guarantees: the reason follows from source, output and prompt alone; the first that applies is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pipelines.synthesise.settings import Checks

RUN = 8  # words
REASONS = ("too_short", "too_long", "refusal", "prompt_leak", "language", "copied")
_LEAD = re.compile(
    r"\A\s*(?:(?:sure|certainly|of course|okay|ok)\b[^\n]{0,80}[!.:]\s*\n+|here(?:'s| is| are)\b[^\n]{0,120}:\s*\n+)",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:very )?sorry,? (?:but|i)"
    r"|i (?:can(?:'|no)t|am unable to|will not|won't) (?:help|assist|provide|comply|fulfil|rewrite|do that|answer)"
    r"|as an ai(?: language)? model|as a language model|i do not have access"
    r"|es tut mir leid, aber|je suis désolé,? mais|lo siento,? pero"
    r"|als ki-modell|en tant que modèle|como modelo de lenguaje)",
    re.IGNORECASE,
)
_LEAK = re.compile(
    r"\A\W*(?:here(?:'s| is| are) (?:the|a|an|your)\b|rewritten (?:text|version)|(?:draft|text|task|system)\s*:)"
    r"|<\|(?:im_start|im_end|eot_id|start_header_id)|\[/?INST\]|</?think"
    r"|\bthe (?:given|provided|original|above) text\b|\{text\}",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+")


def tidy(output: str) -> str:
    """Return an output without thoughts before it, a code fence around it and a first line that only announces it.

    >>> tidy("Sure, here is the text:\\n\\nWater boils.")
    'Water boils.'
    """
    text = re.sub(r"\A.*</think(?:ing)?>", "", output, count=1, flags=re.DOTALL).strip()
    if fenced := re.match(r"\A```[A-Za-z]*\s*\n(.*)\n\s*```\s*\Z", text, re.DOTALL):
        text = fenced[1].strip()
    return _LEAD.sub("", text, count=1).strip()


def fault(
    source: str, output: str, told: str, checks: Checks, languages: Callable[[str, str], bool] | None = None
) -> str:
    """Return why an output is not usable; empty where it is.

    told : what the prompt says besides the source. languages : tells whether two texts are in one language.
    """
    if len(_WORD.findall(output)) < checks.min_words or len(output) < checks.min_ratio * len(source):
        return "too_short"
    if len(output) > checks.max_ratio * len(source):
        return "too_long"
    if _REFUSAL.search(output) and not _REFUSAL.search(source):
        return "refusal"
    if (_LEAK.search(output) and not _LEAK.search(source)) or runs(output) & runs(told) - runs(source):
        return "prompt_leak"
    if checks.language and languages is not None and not languages(source, output):
        return "language"
    if copied(source, output) > checks.max_copied:
        return "copied"
    return ""


def runs(text: str) -> set[tuple[str, ...]]:
    """Return the runs of eight words of a text, without case and marks."""
    words = _WORD.findall(text.casefold())
    return {tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1)}


def copied(source: str, output: str) -> float:
    """Return which share of an output's runs of eight words its source has."""
    mine = runs(output)
    return len(mine & runs(source)) / len(mine) if mine else 0.0
