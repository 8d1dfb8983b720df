"""Scripts that are written without spaces between words, by code point.

Guarantees: fixed ranges, so that results do not depend on the Unicode version of a library. They follow Unicode's
property Line_Break (Unicode Standard Annex 14, version 16): what may be broken anywhere (ID, letters only), at
orthographic syllables (AK, AS), or where a dictionary says so (SA). Not here are Han, kana and all of the planes from
2 on, which `word_tokens.classes` knows, and Tibetan, whose syllables end in a mark of their own.
"""

from __future__ import annotations

Ranges = tuple[tuple[int, int], ...]

SYLLABLES: Ranges = (
    (0x3105, 0x312F),  # Bopomofo
    (0x31A0, 0x31BF),  # its extension
    (0x31F0, 0x31FF),  # Katakana, small letters
    (0xA000, 0xA48C),  # Yi
    (0xFF66, 0xFF9F),  # Katakana, half width
    (0x17000, 0x18D08),  # Tangut, Khitan
    (0x1AFF0, 0x1B2FB),  # Kana, extended and historic; Nushu
)
SPELLED: Ranges = (
    (0x0E00, 0x0E7F),  # Thai
    (0x0E80, 0x0EFF),  # Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x197F),  # Tai Le
    (0x1980, 0x19DF),  # New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x1B00, 0x1B7F),  # Balinese
    (0x1BC0, 0x1BFF),  # Batak
    (0xA980, 0xA9DF),  # Javanese
    (0xA9E0, 0xA9FF),  # Myanmar, Shan and others
    (0xAA00, 0xAA5F),  # Cham
    (0xAA60, 0xAA7F),  # Myanmar, Khamti and others
    (0xAA80, 0xAADF),  # Tai Viet
    (0x11000, 0x1107F),  # Brahmi
    (0x11300, 0x113FF),  # Grantha, Tulu
    (0x116D0, 0x116E3),  # Myanmar, Pa'o and Sgaw Karen
    (0x11700, 0x1174F),  # Ahom
    (0x11900, 0x1195F),  # Dives Akuru
    (0x11EE0, 0x11EFF),  # Makasar
    (0x11F00, 0x11F5F),  # Kawi
    (0x16100, 0x1613F),  # Gurung Khema
)


def is_in(code: int, ranges: Ranges) -> bool:
    """Tell whether a code point lies in one of the ranges.

    >>> is_in(ord("ก"), SPELLED), is_in(ord("a"), SPELLED)
    (True, False)
    """
    return any(low <= code <= high for low, high in ranges)
