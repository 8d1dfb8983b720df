// The mean of the rows of each document's features, as fastText's Dictionary::getLine names them, in fastText's order.
//
// A block has one document; its threads have one column of the rows each and walk over the same bytes, so that branches
// are alike within a warp and rows are read side by side. Sums are in the order of the host's kernels
// (features.py, kernels.average and kernels.average_logits), so the bits are theirs. The same source is compiled for
// the host, with one thread, by tests (see device.h).

#include "device.h"

#define BASIS 2166136261u
#define PRIME 16777619u
#define END_HASH 3617362777u
#define LABEL_HASH 713211737u
#define MIX 116049371ull
#define MOST_NGRAMS 16

struct Model {
    const uint64_t* slots;
    int64_t mask;
    const uint8_t* text;
    const int64_t* start;
    const int64_t* stop;
    const int64_t* sub_start;
    const int32_t* sub_ids;
    const uint64_t* present;
    const int32_t* row_of;
    int minn, maxn;
    uint64_t bucket;
    int64_t words;
    int pruned;
    int64_t present_mask;
};

// A sum over rows of one column. wide: in double precision.
struct Sum {
    const float* matrix;
    int64_t columns, column;
    int wide;
    float narrow_total;
    double wide_total;
    int32_t count;
};

__device__ static void add(Sum& sum, int64_t row) {
    const float value = sum.matrix[row * sum.columns + sum.column];
    if (sum.wide)
        sum.wide_total += value;
    else
        sum.narrow_total += value;
    sum.count++;
}

__device__ static void add_bucket(const Model& m, Sum& sum, uint64_t hash) {
    const bool narrow = (hash | m.bucket) >> 32 == 0;  // of subwords: a division of 64 bits takes several times as long
    const int64_t bucket = narrow ? (int64_t)((uint32_t)hash % (uint32_t)m.bucket) : (int64_t)(hash % m.bucket);
    if ((m.present[(bucket >> 6) & m.present_mask] >> (bucket & 63)) & 1)
        add(sum, m.words + (m.pruned ? m.row_of[bucket] : bucket));
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

// The character n-grams of `<word>`.
__device__ static void add_subwords(const Model& m, Sum& sum, const uint8_t* data, int64_t first, int64_t last) {
    const int64_t length = last - first + 2;
    for (int64_t i = 0; i < length; i++) {
        const bool inside = i > 0 && i < length - 1;
        if (inside && (data[first + i - 1] & 0xC0) == 0x80) continue;
        uint32_t h = BASIS;
        int64_t j = i;
        for (int k = 1; j < length && k <= m.maxn; k++) {
            do {
                h = (h ^ (j == 0 ? 60u : j == length - 1 ? 62u : extended(data[first + j - 1]))) * PRIME;
                j++;
            } while (j < length - 1 && (data[first + j - 1] & 0xC0) == 0x80);
            if (k >= m.minn && !(k == 1 && (i == 0 || j == length))) add_bucket(m, sum, h);
        }
    }
}

struct Word {
    int64_t first, last;  // bytes of the token
    uint32_t hash;
    int64_t entry;  // of the dictionary, or -1
    bool ends;      // the end of the line
};

// Move to the next word that has features; false behind the end of the line. `at` is kept between the calls.
__device__ static bool next(const Model& m, const uint8_t* data, int64_t& at, int64_t stop, bool& ended, Word& word) {
    const uint8_t end[4] = {'<', '/', 's', '>'};
    while (!ended) {
        while (at < stop && separates(data[at])) at++;
        const bool virtual_end = at >= stop;
        word.first = at;
        while (at < stop && !separates(data[at])) at++;
        word.last = at;
        word.hash = virtual_end ? END_HASH : fnv(data, word.first, word.last);
        word.ends = virtual_end;
        if (word.last - word.first == 4) {
            word.ends = true;
            for (int i = 0; i < 4; i++) word.ends = word.ends && data[word.first + i] == end[i];
        }
        word.entry = virtual_end ? find(m, end, 0, 4, END_HASH) : find(m, data, word.first, word.last, word.hash);
        const bool label = word.entry < 0 && !word.ends && word.last - word.first >= 9 && data[word.first] == 95 &&
                           data[word.first + 1] == 95 && fnv(data, word.first, word.first + 9) == LABEL_HASH;
        if (word.entry >= m.words || label) {
            ended = virtual_end;
            continue;
        }
        ended = word.ends;
        return true;
    }
    return false;
}

// The word n-grams that begin with the first of `held` hashes.
__device__ static void add_word_ngrams(const Model& m, Sum& sum, const int32_t* hashes, int held) {
    uint64_t h = (uint64_t)(int64_t)hashes[0];
    for (int j = 1; j < held; j++) {
        h = h * MIX + (uint64_t)(int64_t)hashes[j];
        add_bucket(m, sum, h);
    }
}

__device__ static int64_t cut(const uint8_t* data, int64_t start, int64_t stop, int64_t most) {
    if (stop - start <= most) return stop;
    int64_t characters = 0;
    for (int64_t i = start; i < stop; i++) {
        if ((data[i] & 0xC0) == 0x80) continue;
        if (characters == most) return i;
        characters++;
    }
    return stop;
}

// offsets: (docs + 1); slots: (slots, 2); matrix: (rows, columns); means: (docs, columns); counts: (docs), of features.
extern "C" __global__ void fasttext_sums(const uint8_t* data, const int64_t* offsets, int64_t max_chars,
                                         const uint64_t* slots, int64_t mask, const uint8_t* text,
                                         const int64_t* start, const int64_t* stop, const int64_t* sub_start,
                                         const int32_t* sub_ids, const uint64_t* present, const int32_t* row_of,
                                         int minn, int maxn, uint64_t bucket, int64_t words, int pruned,
                                         int64_t present_mask, int word_ngrams, const float* matrix, int columns,
                                         int wide, float* means, int32_t* counts) {
    const Model m = {slots, mask,   text, start, stop,   sub_start, sub_ids, present, row_of,
                     minn,  maxn,   bucket ? bucket : 1, words,  pruned, present_mask};
    const int64_t doc = blockIdx.x, begin = offsets[doc];
    const int64_t end = cut(data, begin, offsets[doc + 1], max_chars);
    for (int column = threadIdx.x; column < columns; column += blockDim.x) {
        Sum sum = {matrix, columns, column, wide, 0.0f, 0.0, 0};
        Word word;
        int64_t at = begin;
        bool ended = false;
        while (next(m, data, at, end, ended, word)) {
            if (word.entry >= 0 && maxn <= 0)
                add(sum, word.entry);
            else if (word.entry >= 0)
                for (int64_t k = sub_start[word.entry]; k < sub_start[word.entry + 1]; k++) add(sum, sub_ids[k]);
            else if (!word.ends && maxn > 0)
                add_subwords(m, sum, data, word.first, word.last);
        }
        if (word_ngrams > 1 && bucket > 0) {
            int32_t hashes[MOST_NGRAMS];
            int held = 0;
            at = begin;
            ended = false;
            while (next(m, data, at, end, ended, word)) {
                hashes[held++] = (int32_t)word.hash;
                if (held < word_ngrams) continue;
                add_word_ngrams(m, sum, hashes, held);
                for (int i = 1; i < held; i++) hashes[i - 1] = hashes[i];
                held--;
            }
            for (; held > 0; held--) {
                add_word_ngrams(m, sum, hashes, held);
                for (int i = 1; i < held; i++) hashes[i - 1] = hashes[i];
            }
        }
        const int32_t least = sum.count > 0 ? sum.count : 1;
        means[doc * columns + column] =
            wide ? (float)(sum.wide_total / least) : sum.narrow_total * (float)(1.0 / least);
        if (column == 0) counts[doc] = sum.count;
    }
}
