"""The rules of stage heuristics in plain Python: slow and obviously right."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from stages.kernels.text.heuristic_facts import DEFAULT, STOP_WORDS, Readings
from stages.kernels.text.word_tokens import TERMINALS
from tests.support.word_tokens_reference import in_word, tokens

BULLETS = "\u2022\u2023\u25b6\u25c0\u25e6\u25a0\u25a1\u25aa\u25ab\u2013-*"
BULLETS += "\u25cf\u25cb\u2219\u00b7\u2043\u204c\u204d\u25d8\u29be\u29bf"
URL = re.compile(r"(?ai:https?)://[^\s\";<>]*")  # ends before white space of any kind; may be the start alone


def share(part: float, whole: float) -> float:
    return part / max(whole, 1)


def copies(items: list[str], counts: str) -> tuple[int, int]:
    """Return how many items are copies, and their characters."""
    number = Counter(items)
    if counts == "all":
        again = [item for item in items if number[item] > 1]
    else:
        again = [item for i, item in enumerate(items) if item in items[:i]]
    return len(again), sum(map(len, again))


def marked(words: list[str], n: int, starts: list[int], *, spaces: bool) -> int:
    """Return the characters that n-grams at these places cover, each once, blanks inside them too if wanted."""
    covered = {i + k for i in starts for k in range(n)}
    inside = {i + k for i in starts for k in range(n - 1)} if spaces else set()
    return sum(len(words[i]) for i in covered) + len(inside)


def top_chars(words: list[str], n: int, how: Readings) -> int:
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    number = Counter(grams)
    if not grams or max(number.values()) < 2:
        return 0
    often = [gram for gram in grams if number[gram] == max(number.values())]
    gram = max(often, key=lambda g: len("".join(g))) if how.top_ties == "longest" else often[0]
    spaces = how.share_of == "text"
    if how.overlaps == "covered":
        return marked(words, n, [i for i, g in enumerate(grams) if g == gram], spaces=spaces)
    return len((" " if spaces else "").join(gram)) * number[gram]


def repeated_chars(words: list[str], n: int, how: Readings) -> int:
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    number, seen, starts, i = Counter(grams), set(), list[int](), 0
    while i < len(grams):
        again = number[grams[i]] > 1 if how.counts == "all" else grams[i] in seen
        seen.add(grams[i])
        starts += [i] * again
        i += n if again and how.overlaps == "skipped" else 1
    return marked(words, n, starts, spaces=False)


def is_sign(token: str) -> bool:
    return not any(map(in_word, token))


def ellipses_in(text: str, *, spaced: bool) -> int:
    return len(re.findall(r"\.\.\.|\. \. \.|\u2026" if spaced else r"\.\.\.|\u2026", text))


def pieces(text: str, *, spaced: bool) -> list[str]:
    return re.findall(r"(?:\. \. \.|\S)+", text) if spaced else text.split()


def facts(text: str, how: Readings = DEFAULT) -> dict[str, float]:
    """Return every fact of one text."""
    size = len(text)
    every = pieces(text, spaced=how.ellipses == "spaced") if how.split == "spaces" else tokens(text)
    words = every if how.signs == "words" else [t for t in every if not is_sign(t)]
    of = len(every) if how.signs == "shares" else len(words)
    grams = [t for t in every if not is_sign(t)] if how.signs == "never" else every
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    segments = len(text.removesuffix("\n").split("\n")) if text else 0
    listed = segments if how.blank_lines == "counted" else len(lines)
    paragraphs = [p.strip() for p in re.split(r"\n{2,}", text) if p.strip()]
    line_copies, line_chars = copies(lines, how.counts)
    paragraph_copies, paragraph_chars = copies(paragraphs, how.counts)
    line_size = sum(map(len, lines)) if how.share_of == "units" else size
    paragraph_size = sum(map(len, paragraphs)) if how.share_of == "units" else size
    gram_size = sum(map(len, grams)) if how.share_of == "units" else size
    stops = [t.lower() for t in every if t.lower() in STOP_WORDS]
    spaced = how.ellipses == "spaced"
    ends = ("...", "\u2026", ". . .") if spaced else ("...", "\u2026")
    letters = [c for c in text if c.isalpha()]
    found = {
        "num_words": len(words),
        "mean_word_length": share(sum(map(len, words)), len(words)),
        "hash_ratio": share(text.count("#"), of),
        "ellipsis_ratio": share(ellipses_in(text, spaced=spaced), of),
        "bullet_lines": share(sum(line[0] in BULLETS for line in lines), listed),
        "ellipsis_lines": share(sum(line.endswith(ends) for line in lines), listed),
        "alpha_words": share(sum(any(map(str.isalpha, w)) for w in every), of),
        "stop_words": len(stops) if how.stop_words_count == "all" else len(set(stops)),
        "duplicate_lines": share(line_copies, len(lines)),
        "duplicate_line_chars": share(line_chars, line_size),
        "duplicate_paragraphs": share(paragraph_copies, len(paragraphs)),
        "duplicate_paragraph_chars": share(paragraph_chars, paragraph_size),
        "line_punctuation": share(sum(line[-1] in (how.end_marks or TERMINALS) for line in lines), len(lines)),
        "short_lines": share(sum(len(line) <= how.short_line for line in lines), len(lines)),
        "line_duplicate_chars": share(copies(lines, "later")[1], size - text.count("\n")),
        "newlines_per_word": share(text.count("\n"), len(every)),
        "curly_brackets": float("{" in text),
        "lorem_ipsum": float(re.search("lorem ipsum", text, re.IGNORECASE | re.ASCII) is not None),
        "sentences": len(re.findall(r"[.!?](?=\s|\Z)", text)),
        "num_chars": size,
        "num_lines": len(lines),
        "long_lines": sum(len(line) >= 200 for line in lines),
        "longest_word": max(map(len, text.split()), default=0),
        "digit_ratio": share(sum(unicodedata.category(c) == "Nd" for c in text), size),
        "symbol_ratio": share(sum(not in_word(c) and not c.isspace() for c in text), size),
        "space_ratio": share(sum(map(str.isspace, text)), size),
        "bracket_ratio": share(sum(c in "()[]{}\u27e8\u27e9" for c in text), size),
        "capital_ratio": share(sum(c.isupper() for c in letters), len(letters)),
        "url_ratio": share(sum(len(m[0]) for m in URL.finditer(text)), size),
    }
    found |= {f"top_{n}gram": share(top_chars(grams, n, how), gram_size) for n in (2, 3, 4)}
    return found | {f"duplicate_{n}grams": share(repeated_chars(grams, n, how), gram_size) for n in range(5, 11)}
