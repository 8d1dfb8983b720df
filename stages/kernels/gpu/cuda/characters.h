// Classes of code points, as stages/kernels/text/word_tokens.py numbers them.
#pragma once

#include "utf8.h"

enum {
    SPACE = 1 << 0,
    WORD = 1 << 1,
    ALPHA = 1 << 2,
    SINGLE = 1 << 3,
    DIGIT = 1 << 4,
    LOWER = 1 << 5,
    UPPER = 1 << 6,
    MARK = 1 << 7,
    CURRENCY = 1 << 8,
    ICON = 1 << 9,
    QUOTE = 1 << 10,
    TERMINAL = 1 << 11,
    LEADING = 1 << 12,
    DASH = 1 << 13,
    TICK = 1 << 14,
    DECIMAL = 1 << 15,
};

// A document: n code points and the class of each.
struct Text {
    const uint32_t* points;
    const uint16_t* kinds;
    int n;
};

// Tell whether a character ends a piece: white space, or a letter of a script without spaces.
__device__ static inline bool apart(uint16_t kind) { return (kind & (SPACE | SINGLE)) != 0; }

// Tell whether a character is no plain letter or digit.
__device__ static inline bool other(uint16_t kind) { return !(kind & (ALPHA | DIGIT)) || (kind & SINGLE); }

__device__ static inline bool capital(uint16_t kind) { return (kind & (UPPER | LOWER)) == UPPER; }

__device__ static inline bool sign(uint16_t kind) { return !(kind & (SPACE | WORD)); }

// Move the ends of a stretch past the white space there.
__device__ static inline void strip(const Text& t, int& first, int& last) {
    while (first < last && (t.kinds[first] & SPACE)) first++;
    while (last > first && (t.kinds[last - 1] & SPACE)) last--;
}
