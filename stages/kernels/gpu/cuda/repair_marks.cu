// Whether a document may hold something to repair: the rules of stages/kernels/text/repair_signs.py.
//
// A thread has one document and stops at the first sign. The same source is compiled for the host, with one thread, by
// tests (see device.h).

#include "utf8.h"

enum { MOJIBAKE = 1, ENTITY = 2 };  // bits of kinds, in the order of repairs.KINDS

__device__ static bool is_plain(uint8_t byte) {
    return (byte >= 0x20 && byte < 0x7F && byte != '&') || byte == 9 || byte == 10 || byte == 12;
}

// Tell whether signs, letters or digits stand behind the & at i, and a semicolon behind them.
__device__ static bool is_entity(const uint8_t* data, int64_t i, int64_t high) {
    const int64_t first = ++i;
    for (; i < high; i++) {
        const uint8_t byte = data[i], letter = byte | 32;
        if (!((byte >= '0' && byte <= '9') || (letter >= 'a' && letter <= 'z') || byte == '#')) break;
    }
    return first < i && i < high && data[i] == ';';
}

// Return the kinds of repair that the character from `begin` to `at` may need; first: pairs that the one before begins.
__device__ static int kinds_at(const uint8_t* data, int64_t start, int64_t begin, int64_t at, int64_t high,
                               uint32_t point, const uint8_t* alone, const uint64_t* left, const uint64_t* right,
                               uint64_t& first) {
    int kinds = alone[point];
    if (at - begin == 1) return kinds;
    if (begin > start && data[begin - 1] < 0x80) first = left[data[begin - 1]];
    if (first & right[point]) kinds |= MOJIBAKE;
    first = left[point];
    if (at < high && data[at] < 0x80 && (first & right[data[at]])) kinds |= MOJIBAKE;
    return kinds;
}

// data: UTF-8 of all documents; offsets: (docs + 1); alone, left, right: by code point, kinds and pairs; wanted: bits
// of kinds; out: (docs), 1 where one is found. Documents longer than `longest` bytes are left out.
extern "C" __global__ void repair_marks(const uint8_t* data, const int64_t* offsets, int64_t docs, int64_t longest,
                                        const uint8_t* alone, const uint64_t* left, const uint64_t* right, int wanted,
                                        uint8_t* out) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t doc = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; doc < docs; doc += step) {
        const int64_t start = offsets[doc], high = offsets[doc + 1];
        uint64_t first = 0;  // pairs that the character before begins, where that is not ASCII
        bool found = false;
        if (high - start > longest) continue;
        for (int64_t i = start; i < high && !found;) {
            const uint8_t byte = data[i];
            if (is_plain(byte)) {
                i++;
            } else if (byte == '&') {
                found = (wanted & ENTITY) && is_entity(data, i, high);
                i++;
            } else {
                const int64_t begin = i;
                const uint32_t point = next_point(data, i);
                found = kinds_at(data, start, begin, i, high, point, alone, left, right, first) & wanted;
            }
        }
        out[doc] = found;
    }
}
