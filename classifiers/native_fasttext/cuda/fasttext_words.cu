// The features of each word of each document, as fastText's Dictionary::getLine names them, into slots (fasttext.h).
//
// A block has one document; its threads have every blockDim.x-th slot, so each word and each character that begins
// n-grams is looked at by one thread. Where a text is cut is found by all of them together. The same source is compiled
// for the host by tests (see device.h).

#include "fasttext.h"

#define MOST_THREADS 128  // of a block

__device__ static bool begins_character(uint8_t byte) { return (byte & 0xC0) != 0x80; }

// Return where the first `most` characters end; the threads of a block count those of a part of the text each.
__device__ static int64_t cut(const uint8_t* data, int64_t start, int64_t stop, int64_t most) {
    __shared__ int64_t counts[MOST_THREADS];
    __shared__ int64_t found;
    if (stop - start <= most) return stop;
    const int64_t threads = blockDim.x, me = threadIdx.x, part = (stop - start + threads - 1) / threads;
    const int64_t first = start + me * part < stop ? start + me * part : stop;
    const int64_t last = first + part < stop ? first + part : stop;
    int64_t mine = 0, before = 0;
    for (int64_t i = first; i < last; i++) mine += begins_character(data[i]);
    counts[me] = mine;
    if (me == 0) found = stop;
    __syncthreads();
    for (int64_t t = 0; t < me; t++) before += counts[t];
    if (before <= most && most < before + mine) {
        int64_t i = first, left = most - before;
        while (!begins_character(data[i]) || left-- > 0) i++;
        found = i;
    }
    __syncthreads();
    return found;
}

__device__ static bool separates(uint8_t byte) { return byte == 32 || byte == 0 || (9 <= byte && byte <= 13); }

__device__ static uint32_t extended(uint8_t byte) { return byte >= 0x80 ? byte | 0xFFFFFF00u : byte; }

__device__ static uint32_t fnv(const uint8_t* data, int64_t first, int64_t last) {
    uint32_t h = BASIS;
    for (int64_t i = first; i < last; i++) h = (h ^ extended(data[i])) * PRIME;
    return h;
}

__device__ static int64_t find(const Model& m, const uint8_t* data, int64_t first, int64_t last, uint32_t hash) {
    const int64_t length = last - first;
    uint64_t head = 0;
    for (int64_t i = 0; i < length && i < 8; i++) head |= (uint64_t)data[first + i] << (8 * i);
    for (int64_t slot = (int64_t)hash & m.mask; m.slots[2 * slot]; slot = (slot + 1) & m.mask) {
        if ((m.slots[2 * slot] >> 32) != hash || m.slots[2 * slot + 1] != head) continue;
        const int64_t entry = (int64_t)(m.slots[2 * slot] & 0xFFFFFFFFull) - 1;
        if (length < 8) return entry;
        if (m.stop[entry] - m.start[entry] != length) continue;
        int64_t i = 8;
        while (i < length && m.text[m.start[entry] + i] == data[first + i]) i++;
        if (i == length) return entry;
    }
    return -1;
}

// The character n-grams of `<word>` that begin at byte `at` of it, in front of which `h` is what was hashed.
__device__ static void add_subwords(const Model& m, const uint8_t* data, int64_t at, int64_t end, bool opens,
                                    int32_t* rows) {
    const int least = m.minn > 1 ? m.minn : 1;
    uint32_t h = BASIS;
    bool closed = false;
    for (int k = 1; k <= m.maxn && !closed; k++) {
        if (opens && k == 1) {
            h = (h ^ 60u) * PRIME;
            continue;  // `<` alone is none
        }
        if (at < end && !separates(data[at])) {
            do {
                h = (h ^ extended(data[at])) * PRIME;
                at++;
            } while (at < end && (data[at] & 0xC0) == 0x80);
        } else {
            h = (h ^ 62u) * PRIME;
            closed = true;
        }
        if (k >= least) rows[k - least] = bucket_row(m, h);
    }
}

// The word that begins at `first`: its row, its hash, and the n-grams that begin with its `<`.
__device__ static void add_word(const Model& m, const uint8_t* data, int64_t first, int64_t end, int hashed,
                                int32_t* slot, uint32_t place, uint32_t* stops) {
    int64_t last = first;
    while (last < end && !separates(data[last])) last++;
    const uint32_t hash = fnv(data, first, last);
    bool ends = last - first == 4;
    const uint8_t end_mark[4] = {'<', '/', 's', '>'};
    for (int i = 0; i < 4; i++) ends = ends && data[first + i] == end_mark[i];
    const int64_t entry = find(m, data, first, last, hash);
    const bool label = entry < 0 && !ends && last - first >= 9 && data[first] == 95 && data[first + 1] == 95 &&
                       fnv(data, first, first + 9) == LABEL_HASH;
    if (entry >= m.words || label) {
        slot[0] = LABEL;
        return;
    }
    slot[0] = entry >= 0 ? (int32_t)entry : UNKNOWN;
    if (hashed) slot[hashed] = (int32_t)hash;
    if (ends)
        atomicMin(stops, place);
    else
        add_subwords(m, data, first, end, true, slot + 1);
}

// offsets: (docs + 1); places: (docs + 1); slots: (slots, 2); features: (places, stride); stops: (docs), slot of a word
// that ends the line; sizes: (docs), bytes of each text up to its cut. hashed: place of the hash in a slot, 0 for none.
extern "C" __global__ void fasttext_words(const uint8_t* data, const int64_t* offsets, const int64_t* places,
                                          int64_t max_chars,
                                          const uint64_t* slots, int64_t mask, const uint8_t* text,
                                          const int64_t* start, const int64_t* stop, const uint64_t* present,
                                          const int32_t* row_of, int minn, int maxn, uint64_t bucket, int64_t words,
                                          int pruned, int64_t present_mask, int hashed, int stride, int32_t* features,
                                          uint32_t* stops, int64_t* sizes) {
    const Model m = {slots, mask,   text,  start,  stop,        present, row_of, minn,
                     maxn,  bucket ? bucket : 1, words, pruned, present_mask};
    const int64_t doc = blockIdx.x, begin = offsets[doc];
    const int64_t end = cut(data, begin, begin + places[doc + 1] - places[doc] - 1, max_chars);
    int32_t* rows = features + places[doc] * stride;
    if (threadIdx.x == 0) sizes[doc] = end - begin;
    for (int64_t place = threadIdx.x; place <= end - begin; place += blockDim.x) {
        int32_t* slot = rows + place * stride;
        for (int k = 0; k < stride; k++) slot[k] = NONE;
        const int64_t at = begin - 1 + place;
        if (place > 0 && !separates(data[at])) {
            if (begins_character(data[at])) add_subwords(m, data, at, end, false, slot + 1);
        } else if (at + 1 < end && !separates(data[at + 1])) {
            add_word(m, data, at + 1, end, hashed, slot, (uint32_t)place, stops + doc);
        }
    }
}
