// Least MurmurHash3_x86_32 of the character shingles of each document, under each of many seeds.
//
// A block has one document, or a segment of a long one; its threads have one seed each and walk over the same shingles,
// so that a byte is read once for a warp. Bits are those of stages/kernels/similarity/sketch.py, sketch_seeds, without
// sampling. The same source is compiled for the host, with one thread, by tests (see device.h).

#include "device.h"

__device__ static uint32_t rotated(uint32_t x, int bits) { return (x << bits) | (x >> (32 - bits)); }

__device__ static uint32_t premixed(uint32_t word) { return rotated(word * 0xCC9E2D51u, 15) * 0x1B873593u; }

__device__ static bool begins(uint8_t byte) { return (byte & 0xC0) != 0x80; }

__device__ static uint32_t murmur32(const uint8_t* text, int64_t size, uint32_t seed) {
    uint32_t h = seed;
    int64_t i = 0;
    for (; i + 4 <= size; i += 4) {
        uint32_t word = text[i] | (uint32_t)text[i + 1] << 8;
        word |= (uint32_t)text[i + 2] << 16 | (uint32_t)text[i + 3] << 24;
        h = rotated(h ^ premixed(word), 13) * 5u + 0xE6546B64u;
    }
    uint32_t rest = 0;
    for (int64_t j = 0; i + j < size; j++) rest |= (uint32_t)text[i + j] << (8 * j);
    h ^= premixed(rest);  // 0 for no bytes
    h ^= (uint32_t)size;
    h = (h ^ (h >> 16)) * 0x85EBCA6Bu;
    h = (h ^ (h >> 13)) * 0xC2B2AE35u;
    return h ^ (h >> 16);
}

// data: UTF-8 of all documents; offsets: (docs + 1); out: (docs, seeds), filled with the greatest uint32 before.
// Grid: (docs, segments); a segment has the shingles that begin in its part of the document's bytes.
extern "C" __global__ void minhash_seeds(const uint8_t* data, const int64_t* offsets, const uint32_t* seeds, int count,
                                         int width, int64_t segment, uint32_t* out) {
    const int64_t doc = blockIdx.x;
    const int64_t start = offsets[doc], stop = offsets[doc + 1];
    for (int64_t from = start + (int64_t)blockIdx.y * segment; from < stop || from == start;
         from += (int64_t)gridDim.y * segment) {
        int64_t left = from;  // the first character of the segment, and the byte behind its shingle
        const int64_t end = from + segment < stop ? from + segment : stop;
        while (left < end && !begins(data[left])) left++;
        int64_t right = left;
        int taken = 0;
        for (; taken < width && right < stop; taken++) {
            right++;
            while (right < stop && !begins(data[right])) right++;
        }
        const bool whole = from == start && taken < width;  // the document is one shingle, or empty
        for (int slot = threadIdx.x; slot < count; slot += blockDim.x) {
            uint32_t* least = out + doc * count + slot;
            const uint32_t seed = seeds[slot];
            if (whole) {
                *least = stop > start ? murmur32(data + start, stop - start, seed) : 0u;
                continue;
            }
            uint32_t mine = 0xFFFFFFFFu;
            int64_t low = left, high = right;
            bool full = taken == width;
            while (full && low < end) {
                const uint32_t h = murmur32(data + low, high - low, seed);
                mine = h < mine ? h : mine;
                low++;
                while (low < stop && !begins(data[low])) low++;
                full = high < stop;
                if (full) {
                    high++;
                    while (high < stop && !begins(data[high])) high++;
                }
            }
            if (mine != 0xFFFFFFFFu) atomicMin(least, mine);
        }
        if (stop == start) break;
    }
}
