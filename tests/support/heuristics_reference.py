"""The rules of stage heuristics in plain Python: slow and obviously right."""

from __future__ import annotations

import re
from collections import Counter

from stages.kernels.text.word_tokens import TERMINALS
from tests.support.word_tokens_reference import in_word, tokens

BULLETS = "\u2022\u2023\u25b6\u25c0\u25e6\u25a0\u25a1\u25aa\u25ab\u2013-*"
STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}


def share(part: float, whole: float) -> float:
    return part / max(whole, 1)


def copies(items: list[str]) -> tuple[int, int]:
    """Return how many items came before, and their characters."""
    again = [item for i, item in enumerate(items) if item in items[:i]]
    return len(again), sum(map(len, again))


def top_chars(words: list[str], n: int) -> int:
    grams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
    if not grams:
        return 0
    gram, count = Counter(grams).most_common(1)[0]
    return len(gram) * count


def repeated_chars(words: list[str], n: int) -> int:
    seen, chars, i = set(), 0, 0
    while i <= len(words) - n:
        gram = tuple(words[i : i + n])
        if gram in seen:
            chars += sum(map(len, gram))
            i += n
        else:
            seen.add(gram)
            i += 1
    return chars


def facts(text: str) -> dict[str, float]:
    """Return every fact of one text."""
    size = len(text)
    every = tokens(text)
    words = [t for t in every if any(map(in_word, t))]
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    paragraphs = [p.strip() for p in re.split(r"\n{2,}", text) if p.strip()]
    line_copies, line_chars = copies(lines)
    paragraph_copies, paragraph_chars = copies(paragraphs)
    found = {
        "num_words": len(words),
        "mean_word_length": share(sum(map(len, words)), len(words)),
        "hash_ratio": share(text.count("#"), len(every)),
        "ellipsis_ratio": share(text.count("...") + text.count("\u2026"), len(every)),
        "bullet_lines": share(sum(line[0] in BULLETS for line in lines), len(lines)),
        "ellipsis_lines": share(sum(line.endswith(("...", "\u2026")) for line in lines), len(lines)),
        "alpha_words": share(sum(any(map(str.isalpha, w)) for w in every), len(every)),
        "stop_words": len(STOP_WORDS & set(every)),
        "duplicate_lines": share(line_copies, len(lines)),
        "duplicate_line_chars": share(line_chars, size),
        "duplicate_paragraphs": share(paragraph_copies, len(paragraphs)),
        "duplicate_paragraph_chars": share(paragraph_chars, size),
        "line_punctuation": share(sum(line[-1] in TERMINALS for line in lines), len(lines)),
        "short_lines": share(sum(len(line) <= 30 for line in lines), len(lines)),
        "line_duplicate_chars": share(line_chars, size - text.count("\n")),
        "newlines_per_word": share(text.count("\n"), len(every)),
        "curly_brackets": float("{" in text),
        "lorem_ipsum": float(re.search("lorem ipsum", text, re.IGNORECASE | re.ASCII) is not None),
        "sentences": len(re.findall(r"[.!?](?=\s|\Z)", text)),
    }
    found |= {f"top_{n}gram": share(top_chars(every, n), size) for n in (2, 3, 4)}
    return found | {f"duplicate_{n}grams": share(repeated_chars(every, n), size) for n in range(5, 11)}
