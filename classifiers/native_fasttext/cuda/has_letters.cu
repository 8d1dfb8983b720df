// Whether a document holds a letter (Unicode's category L). A thread has one document and stops at the first.
//
// The same source is compiled for the host, with one thread, by tests (see device.h).

#include "utf8.h"

// data: UTF-8 of all documents; offsets: (docs + 1); letters: by code point, a bit each; out: (docs).
extern "C" __global__ void has_letters(const uint8_t* data, const int64_t* offsets, int64_t docs,
                                       const uint8_t* letters, uint8_t* out) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t doc = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; doc < docs; doc += step) {
        bool found = false;
        for (int64_t at = offsets[doc]; at < offsets[doc + 1] && !found;) {
            const uint32_t point = next_point(data, at);
            found = (letters[point >> 3] >> (point & 7)) & 1;
        }
        out[doc] = found;
    }
}
