// What both kernels of fastText models know: the model's arrays, and buckets.
//
// Between the kernels lie slots: one for each byte of a document that may be looked at, and one more in front of it;
// `places` says where those of each document begin. A slot holds whole numbers: of the word that begins behind its byte
// (its row, or one of the three below), of the character n-grams that begin at its byte, or in front of a word with its
// '<', shortest first (their rows, or NONE), and where there are word n-grams the word's hash.
#pragma once

#include "device.h"

#define BASIS 2166136261u
#define PRIME 16777619u
#define END_HASH 3617362777u
#define LABEL_HASH 713211737u
#define MIX 116049371ull
#define MOST_NGRAMS 16

#define NONE (-1)     // no word begins here
#define UNKNOWN (-2)  // a word that is not in the dictionary
#define LABEL (-3)    // a label, which has no features

struct Model {
    const uint64_t* slots;
    int64_t mask;
    const uint8_t* text;
    const int64_t* start;
    const int64_t* stop;
    const uint64_t* present;
    const int32_t* row_of;
    int minn, maxn;
    uint64_t bucket;
    int64_t words;
    int pruned;
    int64_t present_mask;
};

// Return the row of a hash, NONE where it was pruned.
__device__ static int32_t bucket_row(const Model& m, uint64_t hash) {
    const bool narrow = (hash | m.bucket) >> 32 == 0;  // of subwords: a division of 64 bits takes several times as long
    const int64_t bucket = narrow ? (int64_t)((uint32_t)hash % (uint32_t)m.bucket) : (int64_t)(hash % m.bucket);
    if (!((m.present[(bucket >> 6) & m.present_mask] >> (bucket & 63)) & 1)) return NONE;
    return (int32_t)(m.words + (m.pruned ? m.row_of[bucket] : bucket));
}
