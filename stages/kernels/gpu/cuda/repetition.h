// Repeated lines, paragraphs and n-grams of one text: the rules and hashes of stages/kernels/text/repetition.py.
//
// Two pieces are equal when their 64-bit hashes are; where a hash lies in the table is of no consequence, so the table
// is as large as the document wants, no power of two.
#pragma once

#include "characters.h"

#define PRIME 0x9E3779B185EBCA87ull
#define SEED 0xC2B2AE3D27D4EB4Full
#define LEAST_SLOTS 16

struct Table {
    uint64_t* keys;
    int32_t* counts;
    int size;
};

__device__ static inline uint64_t folded(uint64_t x, uint64_t y) { return (x * y) ^ __umul64hi(x, y); }

// Return code points i and i + 1 as one number; 0 stands for what lies behind `stop`. lower: their lower-case forms.
__device__ static inline uint64_t pair(const uint32_t* points, int i, int stop, const uint32_t* lower) {
    uint64_t found = 0;
    if (i < stop) found = lower ? lower[points[i]] : points[i];
    if (i + 1 < stop) found |= (uint64_t)(lower ? lower[points[i + 1]] : points[i + 1]) << 32;
    return found;
}

// Return up to eight ASCII characters from i on as one number, the first one lowest.
__device__ static inline uint64_t eight(const uint32_t* points, int i, int stop, const uint32_t* lower) {
    uint64_t found = 0;
    for (int k = 0; k < 8 && i + k < stop; k++)
        found |= (uint64_t)(lower ? lower[points[i + k]] : points[i + k]) << (8 * k);
    return found;
}

__device__ static bool is_ascii(const uint32_t* points, int start, int stop, const uint32_t* lower) {
    for (int i = start; i < stop; i++)
        if ((lower ? lower[points[i]] : points[i]) > 127) return false;
    return true;
}

// Hash characters: ASCII alone sixteen at a time, others eight at a time.
__device__ static uint64_t hash_of(const uint32_t* points, int start, int stop, const uint32_t* lower) {
    const uint64_t first = 0xA0761D6478BD642Full, second = 0xE7037ED1A0B428DBull, third = 0x8EBC6AF09C88C6E3ull;
    uint64_t h = SEED ^ (uint64_t)(stop - start);
    int i = start;
    if (is_ascii(points, start, stop, lower)) {
        do {
            h = folded(eight(points, i, stop, lower) ^ first, eight(points, i + 8, stop, lower) ^ h);
            i += 16;
        } while (i < stop);
        return folded(h ^ second, third);
    }
    do {
        const uint64_t a = pair(points, i, stop, lower), b = pair(points, i + 2, stop, lower);
        const uint64_t c = pair(points, i + 4, stop, lower), d = pair(points, i + 6, stop, lower);
        h = folded(folded(a ^ first, b ^ h) ^ third, folded(c ^ second, d ^ h) ^ 0x589965CC75374CC3ull);
        i += 8;
    } while (i < stop);
    return h;
}

// Return the slot of h, or the free one where it belongs; h is odd, so that 0 is free.
__device__ static inline int slot_of(const Table& table, uint64_t h) {
    int slot = (int)(((h >> 32) * (uint64_t)table.size) >> 32);
    while (table.keys[slot] && table.keys[slot] != h) slot = slot + 1 == table.size ? 0 : slot + 1;
    return slot;
}

// Make room for so many entries, at most half of the slots.
__device__ static inline void clear(Table& table, int entries) {
    table.size = 2 * entries < LEAST_SLOTS ? LEAST_SLOTS : 2 * entries;
    for (int i = 0; i < table.size; i++) table.keys[i] = 0;
}

// Count a piece; return how many more copies there are with it: 0 or 1, or 2 where the first counts as well.
__device__ static inline int copies_of(const Table& table, uint64_t h, bool all_copies) {
    h |= 1;
    const int slot = slot_of(table, h);
    if (!table.keys[slot]) {
        table.keys[slot] = h;
        table.counts[slot] = 1;
        return 0;
    }
    table.counts[slot]++;
    return all_copies && table.counts[slot] == 2 ? 2 : 1;
}

// Places at which n-grams begin, and the slot of each.
struct Places {
    int32_t* at;
    int32_t* slots;
    int found;
};

__device__ static void count_grams(const uint64_t* sums, Places& p, int width, Table& table) {
    clear(table, p.found);
    uint64_t power = 1;
    for (int i = 0; i < width; i++) power *= PRIME;
    for (int k = 0; k < p.found; k++) {
        const int i = p.at[k];
        const uint64_t h = (sums[i + width] - sums[i] * power) | 1;
        const int slot = slot_of(table, h);
        if (!table.keys[slot]) {
            table.keys[slot] = h;
            table.counts[slot] = 0;
        }
        table.counts[slot]++;
        p.slots[k] = slot;
    }
}

__device__ static void keep_repeated(Places& p, const Table& table) {
    int kept = 0;
    for (int k = 0; k < p.found; k++) {
        if (table.counts[p.slots[k]] < 2) continue;
        p.at[kept] = p.at[k];
        p.slots[kept++] = p.slots[k];
    }
    p.found = kept;
}

// An n-gram occurs twice only if both of its parts do.
__device__ static void keep_longer(Places& p) {
    int kept = 0;
    for (int k = 0; k + 1 < p.found; k++)
        if (p.at[k + 1] == p.at[k] + 1) p.at[kept++] = p.at[k];
    p.found = kept;
}

__device__ static inline int64_t sum_of(const int32_t* lengths, int first, int stop) {
    int64_t found = 0;
    for (int i = first; i < stop; i++) found += lengths[i];
    return found;
}

// Return the characters that occurrences of one n-gram cover, each once, with the spaces inside them.
__device__ static int64_t covered(const Places& p, const int32_t* lengths, int width, int top, int spaces) {
    int64_t chars = 0;
    int reach = 0;
    for (int k = 0; k < p.found; k++) {
        if (p.slots[k] != top) continue;
        const int i = p.at[k], begin = i > reach ? i : reach;
        chars += sum_of(lengths, begin, i + width);
        chars += spaces * (begin == i ? width - 1 : i + width - begin);
        reach = i + width;
    }
    return chars;
}

// Return the characters covered by the most frequent n-gram; none where no n-gram occurs twice.
__device__ static int64_t top_chars(const Places& p, const int32_t* lengths, int width, const Table& table,
                                    bool longest, bool by_cover, bool of_units) {
    int best = 1, top = -1;
    int64_t size = 0;
    for (int k = 0; k < p.found; k++) {
        const int slot = p.slots[k], count = table.counts[slot];
        if (!(count > best || (longest && top >= 0 && count == best))) continue;
        const int64_t chars = sum_of(lengths, p.at[k], p.at[k] + width);
        if (count > best || chars > size) {
            best = count;
            size = chars;
            top = slot;
        }
    }
    if (top < 0) return 0;
    const int spaces = of_units ? 0 : 1;
    return by_cover ? covered(p, lengths, width, top, spaces) : (size + spaces * (width - 1)) * best;
}

// Return the characters of repeated n-grams, none of them twice. Counts of n-grams that were met turn negative.
__device__ static int64_t repeated_chars(const Places& p, const int32_t* lengths, int width, Table& table,
                                         bool all_copies, bool by_cover) {
    int64_t chars = 0;
    int reach = 0;
    for (int k = 0; k < p.found; k++) {
        const int i = p.at[k], slot = p.slots[k];
        if (i < reach && !by_cover) continue;
        if (all_copies || table.counts[slot] < 0) {
            chars += sum_of(lengths, i > reach ? i : reach, i + width);
            reach = i + width;
        }
        if (table.counts[slot] > 0) table.counts[slot] = -table.counts[slot];
    }
    return chars;
}
