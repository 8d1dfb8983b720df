// Where the tokens of a text start and stop: the rules of stages/kernels/text/word_tokens.py and splitting.py.
#pragma once

#include "characters.h"

// Tokens in order; what comes off the end of a piece waits at the end of the room.
struct Tokens {
    int32_t* starts;
    int32_t* stops;
    int room, count;
};

__device__ static inline void add_token(Tokens& out, int start, int stop) {
    out.starts[out.count] = start;
    out.stops[out.count] = stop;
    out.count++;
}

// Tell whether three points with a blank between each two begin at i.
__device__ static inline bool spaced_ellipsis(const Text& t, int i) {
    if (i + 4 >= t.n || t.points[i] != '.' || t.points[i + 2] != '.' || t.points[i + 4] != '.') return false;
    return t.points[i + 1] == ' ' && t.points[i + 3] == ' ';
}

__device__ static inline int points_before(const Text& t, int start, int stop) {
    int i = stop;
    while (i > start && t.points[i - 1] == '.') i--;
    return stop - i;
}

__device__ static inline int points_after(const Text& t, int start, int stop) {
    int i = start;
    while (i < stop && t.points[i] == '.') i++;
    return i - start;
}

__device__ static int mark_in_front(const Text& t, int start, int stop) {
    if (t.kinds[start] & (MARK | CURRENCY | LEADING | DASH)) return 1;
    if (t.points[start] == '+') return start + 1 < stop && (t.kinds[start + 1] & DIGIT) ? 0 : 1;
    const int run = t.points[start] == '.' ? points_after(t, start, stop) : 0;
    return run > 1 ? run : 0;
}

// Tell whether the point that ends a piece is a token; it is not after one letter alone.
__device__ static bool is_full_stop(const Text& t, int start, int stop) {
    const uint16_t kind = t.kinds[stop - 2];
    const uint32_t c = t.points[stop - 2];
    if (kind & ALPHA) {
        if (stop - start == 2 || t.points[stop - 3] == '.') return false;
        return (kind & LOWER) || (t.kinds[stop - 3] & UPPER);
    }
    return (kind & (DIGIT | MARK)) || c == '%' || c == '-' || c == '+';
}

__device__ static int mark_at_end(const Text& t, int start, int stop) {
    const uint32_t c = t.points[stop - 1];
    if (c == '.') {
        const int run = points_before(t, start, stop);
        if (run > 1) return run;
        return stop - start > 1 && is_full_stop(t, start, stop) ? 1 : 0;
    }
    if (t.kinds[stop - 1] & (MARK | DASH)) return 1;
    if (stop - start < 2) return 0;
    if ((c == 'S' || c == 's') && (t.kinds[stop - 2] & TICK)) return 2;
    return (t.kinds[stop - 2] & DIGIT) && ((t.kinds[stop - 1] & CURRENCY) || c == '+' || c == '%') ? 1 : 0;
}

// Return the length of the mark inside a piece at i, where no letter or digit stands; 0 for none.
__device__ static int splits_at(const Text& t, int start, int stop, int i) {
    const uint32_t c = t.points[i];
    if (c == '.') {
        const int run = points_after(t, i, stop);
        if (run > 1) return run;
        if (i == start || i + 1 == stop) return 0;
        return (t.kinds[i - 1] & (LOWER | QUOTE)) && (t.kinds[i + 1] & (UPPER | QUOTE)) ? 1 : 0;
    }
    if ((t.kinds[i] & ICON) || c == 0x2026) return 1;
    if (i == start || i + 1 == stop) return 0;
    const uint16_t before = t.kinds[i - 1], after = t.kinds[i + 1];
    const bool operation = c == '+' || c == '-' || c == '*' || c == '^';
    if (operation && (before & DIGIT) && ((after & DIGIT) || t.points[i + 1] == '-')) return 1;
    if (c == ',') return (before & ALPHA) && (after & ALPHA) ? 1 : 0;
    if (!(before & (ALPHA | DIGIT))) return 0;
    const bool dash = (t.kinds[i] & DASH) || c == '-' || c == '~';
    if ((dash || c == '/' || c == ':' || (60 <= c && c <= 62)) && (after & ALPHA)) return 1;
    int width = 1;
    while (dash && width < 3 && i + width + 1 < stop && t.points[i + width] == c && c != '~') {
        width++;
        if (t.kinds[i + width] & ALPHA) return width;
    }
    return 0;
}

__device__ static inline bool ends_host(uint32_t c, bool port) {
    return c == '/' || c == '?' || c == '#' || (port && c == ':');
}

// Tell whether a piece is SCHEME://USER@HOST.TLD/PATH, of which host and top-level domain must be there.
__device__ static bool is_address(const Text& t, int start, int stop) {
    int first = start;
    for (int i = start + 3; i < stop; i++) {
        if (t.points[i] == '/' && t.points[i - 1] == '/' && t.points[i - 2] == ':') {
            first = i + 1;
            break;
        }
    }
    for (int i = first; i < stop && !ends_host(t.points[i], false); i++)
        if (t.points[i] == '@') first = i + 1;
    int point = first - 1, i = first;
    while (i < stop && ((t.kinds[i] & WORD) || t.points[i] == '.' || t.points[i] == '-' || t.points[i] == '_')) {
        if (t.points[i] == '.') {
            if (point == i - 1) return false;
            point = i;
        }
        i++;
    }
    if (point <= first || i - point < 3 || (i < stop && !ends_host(t.points[i], true))) return false;
    for (int k = point + 1; k < i; k++)
        if (!(t.kinds[k] & LOWER)) return false;
    return true;
}

// Return the length of "n't", "'ll", "'re", "'ve", "'m" or "'d" at a word's end, 0 for none.
__device__ static int contraction(const Text& t, int start, int stop) {
    if (stop - start < 3) return 0;
    const uint32_t z = t.points[stop - 1], y = t.points[stop - 2], x = t.points[stop - 3];
    if (t.kinds[stop - 2] & TICK) {
        if (z == 'd' || z == 'm') return 2;
        return z == 't' && x == 'n' && stop - start > 3 ? 3 : 0;
    }
    const bool pair = (y == 'l' && z == 'l') || ((y == 'r' || y == 'v') && z == 'e');
    return pair && (t.kinds[stop - 3] & TICK) && stop - start > 3 ? 3 : 0;
}

__device__ static void split_piece(const Text& t, int start, int stop, Tokens& out) {
    int held = out.room;
    while (start < stop) {
        int size = mark_in_front(t, start, stop);
        if (size) {
            add_token(out, start, start + size);
            start += size;
            continue;
        }
        size = mark_at_end(t, start, stop);
        if (!size) break;
        held--;
        out.starts[held] = stop - size;
        out.stops[held] = stop;
        stop -= size;
    }
    int begin = start;
    const int tail = contraction(t, start, stop);
    if (tail) {
        held--;
        out.starts[held] = stop - tail;
        out.stops[held] = stop;
        stop -= tail;
    }
    for (int i = start; i < stop;) {
        const int size = t.kinds[i] & (ALPHA | DIGIT) ? 0 : splits_at(t, start, stop, i);
        if (!size) {
            i++;
            continue;
        }
        if (begin == start && is_address(t, start, stop)) break;
        if (begin < i) add_token(out, begin, i);
        add_token(out, i, i + size);
        i += size;
        begin = i;
    }
    if (begin < stop) add_token(out, begin, stop);
    for (int k = held; k < out.room; k++) add_token(out, out.starts[k], out.stops[k]);
}

__device__ static void split_tokens(const Text& t, Tokens& out) {
    for (int i = 0; i < t.n;) {
        int stop = i;
        while (stop < t.n && !other(t.kinds[stop])) stop++;
        if (stop == t.n || apart(t.kinds[stop])) {
            if (stop > i) add_token(out, i, stop);
            if (stop < t.n && !(t.kinds[stop] & SPACE)) add_token(out, stop, stop + 1);
            i = stop + 1;
            continue;
        }
        while (stop < t.n && !apart(t.kinds[stop])) stop++;
        split_piece(t, i, stop, out);
        i = stop;
    }
}

// The pieces between white space. spaced: three points with a blank between each two are in one piece.
__device__ static void split_by_spaces(const Text& t, bool spaced, Tokens& out) {
    for (int i = 0; i < t.n;) {
        if (t.kinds[i] & SPACE) {
            i++;
            continue;
        }
        const int start = i;
        while (i < t.n && !(t.kinds[i] & SPACE)) i += spaced && spaced_ellipsis(t, i) ? 5 : 1;
        add_token(out, start, i);
    }
}
