"""The tokens that stage heuristics counts, by string operations: slow and obviously right."""

# ruff: noqa: RUF001 - signs of many scripts are what it is about

from __future__ import annotations

import re
import unicodedata

QUOTES = set("'\"”“`‘´’‚,„»«（）「」『』〔〕【】《》〈〉⟦⟧")
MARKS = QUOTES | set("….:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪") - {"."}
DIGITS = "0123456789"
CONTRACTION = re.compile(r"(?<=.)(?:n['’]t|(?<!^)['’](?:ll|re|ve))\Z|(?<=.)['’][md]\Z", re.DOTALL)


def icon(c: str) -> bool:
    return unicodedata.category(c) == "So" and ord(c) > 127


def money(c: str) -> bool:
    return unicodedata.category(c) == "Sc"


def mark(c: str) -> bool:
    return c in MARKS or icon(c)


def lower(c: str) -> bool:
    return c.isalpha() and not c.isupper()


def upper(c: str) -> bool:
    return c.isalpha() and not c.islower()


def in_word(c: str) -> bool:
    return c.isalnum() or (ord(c) > 0x2FF and unicodedata.category(c)[0] == "M")


def alone(c: str) -> bool:
    code = ord(c)
    wide = 0x3040 <= code <= 0x30FF or 0x3400 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or code >= 0x20000
    return wide and c.isalpha()


def front(piece: str) -> int:
    if points := re.match(r"\.\.+", piece):
        return points.end()
    if piece[0] == "+":
        return int(piece[1:2] not in DIGITS or len(piece) == 1)
    return int(mark(piece[0]) or money(piece[0]) or piece[0] in "§%=—–")


def back(piece: str) -> int:
    if points := re.search(r"\.\.+\Z", piece):
        return len(points[0])
    last, before, third = piece[-1], piece[-2:-1], piece[-3:-2]
    if last == "." and before:
        if before.isalpha():
            return int(third not in ("", ".") and (lower(before) or upper(third)))
        return int(before in DIGITS or mark(before) or before in "%-+")
    if mark(last) or last in "—–":
        return 1
    if re.search(r"['’][sS]\Z", piece):
        return 2
    return int(before != "" and before in DIGITS and (money(last) or last in "+%"))


def address(piece: str) -> bool:
    """Tell whether the piece is SCHEME://USER@HOST.TLD/PATH, scheme, user and path as they like."""
    host = re.sub(r"\A.+?://", "", piece, count=1, flags=re.DOTALL)
    host = re.sub(r"\A[^/?#]*@", "", host)
    end = next((i for i, c in enumerate(host) if not (in_word(c) or c in "._-")), len(host))
    name, dot, top = host[:end].rpartition(".")
    if "" in name.split("."):  # two points in a row are an ellipsis
        return False
    return bool(dot and name and len(top) >= 2 and all(map(lower, top)) and host[end : end + 1] in ("", *"/:?#"))


def inside(piece: str, i: int) -> int:
    """Return the length of the mark at i on which the piece is split."""
    c, before, after = piece[i], piece[:i][-1:], piece[i + 1 : i + 2]
    if points := re.match(r"\.\.+", piece[i:]):
        return points.end()
    if c == "…" or icon(c):
        return 1
    if not before or not after:
        return 0
    if c == ".":
        return int((lower(before) or before in QUOTES) and (upper(after) or after in QUOTES))
    if c in "+-*^" and before in DIGITS and (after in DIGITS or after == "-"):
        return 1
    if c == ",":
        return int(before.isalpha() and after.isalpha())
    if not (before.isalpha() or before in DIGITS):
        return 0
    if c in ":<>=/~" and after.isalpha():
        return 1
    dashes = re.match(r"(-{1,3}|–{1,3}|—{1,3})(.)", piece[i:], re.DOTALL)
    return len(dashes[1]) if dashes and dashes[2].isalpha() else 0


def split_piece(piece: str) -> list[str]:
    head: list[str] = []
    tail: list[str] = []
    while piece:
        if size := front(piece):
            head.append(piece[:size])
            piece = piece[size:]
        elif size := back(piece):
            tail.insert(0, piece[len(piece) - size :])
            piece = piece[: len(piece) - size]
        else:
            break
    if short := CONTRACTION.search(piece):
        tail.insert(0, short[0])
        piece = piece[: short.start()]
    return head + split_inside(piece) + tail


def split_inside(piece: str) -> list[str]:
    if address(piece):
        return [piece]
    found, begin, i = [], 0, 0
    while i < len(piece):
        if size := inside(piece, i):
            found += [piece[begin:i], piece[i : i + size]]
            begin = i = i + size
        else:
            i += 1
    return [token for token in (*found, piece[begin:]) if token]


def tokens(text: str) -> list[str]:
    """Return the tokens of a text."""
    spaced = "".join(f" {c} " if alone(c) else " " if c.isspace() else c for c in text)
    found: list[str] = []
    for piece in spaced.split():
        found += [piece] if alone(piece[0]) else split_piece(piece)
    return found
