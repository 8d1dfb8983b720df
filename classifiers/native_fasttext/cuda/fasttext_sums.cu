// The mean of the rows of each document's features, which fasttext_words.cu has put into slots (fasttext.h).
//
// A thread has one column of one document; where columns are few, documents of like length lie side by side in a block.
// All threads of a document walk over the same slots. Sums are in the order of the host's kernels (features.py,
// kernels.average and kernels.average_logits), so the bits are theirs: a slot without a row adds 0.0, which changes no
// sum, since none of them is -0.0; so loads need not wait for branches. The same source is compiled for the host, with
// one thread, by tests (see device.h).

#include "fasttext.h"

// How many lengths of character n-grams there are.
__device__ static int lengths_of(int minn, int maxn) {
    const int least = minn > 1 ? minn : 1;
    return maxn < least ? 0 : maxn - least + 1;
}

// A sum over rows of one column, in the precision T.
template <typename T>
struct Sum {
    const float* matrix;
    int64_t columns;  // matrix begins at the column
    T total;
    int32_t count;
};

template <typename T>
__device__ static void add(Sum<T>& sum, int64_t row) {
    const float value = row >= 0 ? sum.matrix[row * sum.columns] : 0.0f;
    sum.total += value;
    sum.count += row >= 0;
}

// Words and their character n-grams; LENGTHS of these, or where that is -1 as many as `lengths` says.
template <typename T, int LENGTHS>
__device__ static void add_words(Sum<T>& sum, const int32_t* slots, int64_t many, int stride, int lengths) {
    const int count = LENGTHS < 0 ? lengths : LENGTHS;
    bool known = false;
    UNROLL_4
    for (int64_t place = 0; place < many; place++) {
        const int32_t* slot = slots + place * stride;
        const int32_t word = slot[0];
        known = word == NONE ? known : word != LABEL;
        add(sum, word);
        for (int k = 1; k <= count; k++) add(sum, known ? slot[k] : NONE);
    }
}

// The word n-grams that begin with the first of `held` hashes, which leaves.
template <typename T>
__device__ static void add_word_ngrams(const Model& m, Sum<T>& sum, int32_t* hashes, int held) {
    uint64_t h = (uint64_t)(int64_t)hashes[0];
    for (int j = 1; j < held; j++) {
        h = h * MIX + (uint64_t)(int64_t)hashes[j];
        add(sum, bucket_row(m, h));
        hashes[j - 1] = hashes[j];
    }
}

// end_hash: 1 where the end of the line is a word, whose hash follows.
template <typename T>
__device__ static void add_all_word_ngrams(const Model& m, Sum<T>& sum, const int32_t* slots, int64_t many, int stride,
                                           int hashed, int word_ngrams, bool end_hash) {
    int32_t hashes[MOST_NGRAMS];
    int held = 0;
    for (int64_t place = 0; place < many + end_hash; place++) {
        const bool is_end = place == many;
        const int32_t word = is_end ? UNKNOWN : slots[place * stride];
        if (word == NONE || word == LABEL) continue;
        hashes[held++] = is_end ? (int32_t)END_HASH : slots[place * stride + hashed];
        if (held == word_ngrams) add_word_ngrams(m, sum, hashes, held--);
    }
    for (; held > 0; held--) add_word_ngrams(m, sum, hashes, held);
}

struct Line {
    const int32_t* slots;
    int64_t many;      // slots up to the line's end
    int stride, lengths, hashed, word_ngrams;
    int32_t end_word;  // row of the end of the line, NONE where a word of the text has ended it, or as in slots
};

template <typename T>
__device__ static float mean(const Model& m, const Line& line, const float* matrix, int columns, int32_t* count) {
    Sum<T> sum = {matrix, columns, 0, 0};
    if (line.lengths == 0)
        add_words<T, 0>(sum, line.slots, line.many, line.stride, 0);
    else if (line.lengths == 3)
        add_words<T, 3>(sum, line.slots, line.many, line.stride, 3);
    else
        add_words<T, -1>(sum, line.slots, line.many, line.stride, line.lengths);
    add(sum, line.end_word);
    const bool end_hash = line.end_word != NONE && line.end_word != LABEL;
    if (line.hashed)
        add_all_word_ngrams(m, sum, line.slots, line.many, line.stride, line.hashed, line.word_ngrams, end_hash);
    const int32_t least = sum.count > 0 ? sum.count : 1;
    if (count) *count = sum.count;
    return sizeof(T) == 8 ? (float)(sum.total / least) : (float)sum.total * (float)(1.0 / least);
}

// places: (docs + 1); order: (docs), documents as they are taken, `lanes` threads each; features, stops, sizes: of
// fasttext_words; end_word: row of the end of the line, or UNKNOWN or LABEL;
// matrix: (rows, columns); wide: sums in double precision; means: (docs, columns); counts: (docs), of features.
extern "C" __global__ void fasttext_sums(const int64_t* places, const uint64_t* present, const int32_t* row_of,
                                         int minn, int maxn, uint64_t bucket, int64_t words, int pruned,
                                         int64_t present_mask, int word_ngrams, int hashed, int stride,
                                         const int32_t* features, const uint32_t* stops, const int64_t* sizes,
                                         int end_word, const float* matrix, int columns, int wide,
                                         const int64_t* order, int64_t docs, int lanes, float* means,
                                         int32_t* counts) {
    Model m = {};
    m.present = present;
    m.row_of = row_of;
    m.bucket = bucket ? bucket : 1;
    m.words = words;
    m.pruned = pruned;
    m.present_mask = present_mask;
    const int side = (int)blockDim.x < lanes ? (int)blockDim.x : lanes;  // threads of a document
    const int many = (int)blockDim.x / side, mine = (int)threadIdx.x / side;
    if (mine >= many) return;
    for (int64_t k = (int64_t)blockIdx.x * many + mine; k < docs; k += (int64_t)gridDim.x * many) {
        const int64_t doc = order[k], size = sizes[doc];
        const bool ended = (int64_t)stops[doc] <= size;
        const Line line = {features + places[doc] * stride, (ended ? (int64_t)stops[doc] : size) + 1, stride,
                           lengths_of(minn, maxn), hashed, word_ngrams, ended ? NONE : end_word};
        for (int column = (int)threadIdx.x % side; column < columns; column += side) {
            int32_t* count = column == 0 ? counts + doc : nullptr;
            means[doc * columns + column] = wide ? mean<double>(m, line, matrix + column, columns, count)
                                                 : mean<float>(m, line, matrix + column, columns, count);
        }
    }
}
