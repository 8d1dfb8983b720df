// What is counted in each line with a visible character: the rules of stages/kernels/text/line_counts.py.
//
// A thread has one document. It is called twice: first it writes how many such lines there are, then the rows, from the
// row on where the document's begin. The same source is compiled for the host by tests (see device.h).

#include "characters.h"

// Columns of a row, in the order of line_counts.COLUMNS.
enum { TEXT, BEGIN, FIRST, LAST, WORDS, SENTENCES, CHARS, LETTERS, CAPITALS, DIGITS, OTHERS, LONGEST, SIGNS, TAIL };
#define WIDTH (TAIL + 1)

// Bits of SIGNS.
enum { CITED = 1, NAMED = 2, NAVIGATES = 4, WIDE = 8 };

#define KELVIN 0x212A  // is k in another case

// Return the signs that the byte at i is in the middle of.
__device__ static int signs_at(const uint8_t* data, int64_t i, int64_t low, int64_t high) {
    const uint8_t byte = data[i], letter = byte | 32;
    if (byte == '[') {
        const uint8_t after = i + 1 < high ? data[i + 1] : 0;
        return (after >= '0' && after <= '9') || after == 'c' || after == 'e' || after == ']' ? CITED : 0;
    }
    if (letter != 'v' && letter != 'k' && letter != 'f' && letter != 'g' && letter != 'm') return 0;
    if (i < low + 2 || i + 2 >= high) return 0;
    const uint8_t before = data[i - 1] | 32, after = data[i + 1] | 32, first = data[i - 2] | 32;
    switch (letter) {
        case 'v': return after == 'a' && (before == 'a' || before == 'i') ? NAMED : 0;
        case 'k': return after == 'i' && before == 'o' && first == 'o' ? NAMED : 0;
        case 'f': return before == 'o' && data[i + 1] == ' ' && (data[i + 2] | 32) == 'u' ? NAMED : 0;
        case 'g': return before == 'i' && after == 'n' ? NAVIGATES : 0;
    }
    return (data[i - 1] == ' ' && first == 'd') || (before == 'e' && first == 't') ? NAVIGATES : 0;
}

__device__ static int64_t tail_of(const uint8_t* data, int64_t first, int64_t last) {
    uint64_t found = 0;
    int shift = 56;
    for (int64_t i = last - 1; i >= first && i >= last - 8; i--, shift -= 8) found |= (uint64_t)data[i] << shift;
    return (int64_t)found;
}

// Count one line from `at` on, and move behind it.
__device__ static void count_line(const uint8_t* data, int64_t& at, int64_t high, const uint16_t* classes,
                                  int64_t* row) {
    const int64_t low = at;
    int64_t first = at, last = at, words = 0, sentences = 0, chars = 0;
    int64_t letters = 0, capitals = 0, digits = 0, others = 0, longest = 0, length = 0, trailing = 0;
    int signs = 0;
    bool mark = false;  // the character before was . ! or ?
    while (at < high) {
        const int64_t begin = at;
        const uint32_t point = next_point(data, at);
        const uint16_t kind = classes[point];
        if (kind & SPACE) {
            sentences += mark;
            mark = false;
            longest = length > longest ? length : longest;
            length = 0;
            trailing += chars > 0;
            if (point == '\n') break;
            continue;
        }
        if (length == 0 && ++words == 1) first = begin;
        last = at;
        chars += trailing + 1;
        trailing = 0;
        length++;
        letters += (kind & ALPHA) != 0;
        capitals += capital(kind);
        digits += (kind & DECIMAL) != 0;
        others += (kind & WORD) == 0;
        mark = point == '.' || point == '!' || point == '?';
        if (point >= 0x80)
            signs |= WIDE | (point == KELVIN ? NAMED : 0);
        else
            signs |= signs_at(data, begin, low, high);
    }
    const int64_t found[WIDTH] = {0,       low,      first,  last,   words,
                                  sentences + mark, chars,  letters, capitals, digits,
                                  others,  length > longest ? length : longest, signs,  tail_of(data, first, last)};
    for (int i = BEGIN; i < WIDTH; i++) row[i] = found[i];
}

// data: UTF-8 of all documents; offsets: (docs + 1); classes: of every code point; starts: (docs), the document's first
// row, -1 where nothing is counted; lines: (docs), written where fill is 0; rows: (lines, WIDTH), where it is 1.
extern "C" __global__ void line_rows(const uint8_t* data, const int64_t* offsets, int64_t docs, const uint16_t* classes,
                                     const int64_t* starts, int fill, int64_t* lines, int64_t* rows) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t doc = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; doc < docs; doc += step) {
        int64_t count = 0, row[WIDTH];
        if (starts[doc] < 0) continue;
        for (int64_t at = offsets[doc], high = offsets[doc + 1]; at < high;) {
            count_line(data, at, high, classes, row);
            if (row[WORDS] == 0) continue;
            if (fill) {
                int64_t* out = rows + (starts[doc] + count) * WIDTH;
                out[TEXT] = doc;
                for (int i = BEGIN; i < WIDTH; i++) out[i] = row[i];
            }
            count++;
        }
        if (!fill) lines[doc] = count;
    }
}
