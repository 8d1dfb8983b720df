"""The ranges of scripts without spaces are those of Unicode's line-breaking classes."""

from __future__ import annotations

import sys
import unicodedata

import numpy as np
import pytest

from stages.kernels.text.fold import ALONE, JOINED, LETTER, table
from stages.kernels.text.unspaced import SPELLED, SYLLABLES, is_in

regex = pytest.importorskip("regex")


def test_letters_of_the_classes_for_scripts_without_spaces_stand_alone() -> None:
    spelled = regex.compile(r"[\p{LB=SA}\p{LB=AK}\p{LB=AS}]")
    scripts = "".join(
        rf"\p{{{s}}}" for s in ("Bopomofo", "Han", "Hiragana", "Katakana", "Khitan", "Nushu", "Tangut", "Yi")
    )
    syllable = regex.compile(rf"(?=[{scripts.replace('Khitan', 'Khitan_Small_Script')}])\p{{LB=ID}}")
    folds = table(digits=False)
    for code in range(sys.maxunicode + 1):
        c = chr(code)
        if not c.isalpha() or 0xD800 <= code < 0xE000:
            continue
        if spelled.match(c):
            assert folds[code] & LETTER, hex(code)
        elif syllable.match(c):
            assert folds[code] & ALONE, hex(code)
        elif is_in(code, SPELLED) or is_in(code, SYLLABLES):  # letters of these blocks that Unicode classes with others
            assert regex.match(r"[\p{LB=AL}\p{LB=CJ}\p{LB=AP}\p{LB=NS}\p{LB=BA}]", c), hex(code)


def test_other_scripts_have_no_flags() -> None:
    outside = np.array([not is_in(code, SPELLED) and not is_in(code, SYLLABLES) for code in range(0x3000)])
    assert not (table(digits=False)[:0x3000][outside] & np.uint32(ALONE | LETTER | JOINED)).any()
    assert unicodedata.category("\u0e31") == "Mn"
    assert table(digits=False)[0xE31] & JOINED
