// The script of most letters of each document, as stages/kernels/text/scripts.py counts them. A thread has a document.

#include "characters.h"

#define MOST_SCRIPTS 64

// table: (code points) place of each one's script; `scripts` is that of letters of none. out: (docs).
extern "C" __global__ void script_places(const uint8_t* data, const int64_t* offsets, int64_t docs,
                                         const uint8_t* table, int scripts, int han, int kana, uint8_t* out) {
    const int64_t threads = (int64_t)gridDim.x * blockDim.x;
    for (int64_t doc = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; doc < docs; doc += threads) {
        int64_t letters[MOST_SCRIPTS];
        for (int k = 0; k <= scripts; k++) letters[k] = 0;
        for (int64_t at = offsets[doc]; at < offsets[doc + 1];) letters[table[next_point(data, at)]]++;
        if (letters[kana] * 10 >= letters[han] && letters[kana] > 0) letters[kana] += letters[han];
        int best = scripts;
        int64_t most = 0;
        for (int k = 0; k < scripts; k++) {
            if (letters[k] <= most) continue;
            most = letters[k];
            best = k;
        }
        out[doc] = (uint8_t)best;
    }
}
