// Pieces of texts, copied one behind the other. A block has one piece at a time; its threads copy bytes side by side.
// The same source is compiled for the host, with one thread, by tests (see device.h).

#include "device.h"

// starts: (pieces), first byte of each in data; places: (pieces + 1), where each lies in out.
extern "C" __global__ void copied(const uint8_t* data, const int64_t* starts, const int64_t* places, int64_t pieces,
                                  uint8_t* out) {
    for (int64_t piece = blockIdx.x; piece < pieces; piece += gridDim.x) {
        const uint8_t* from = data + starts[piece];
        uint8_t* to = out + places[piece];
        for (int64_t i = threadIdx.x; i < places[piece + 1] - places[piece]; i += blockDim.x) to[i] = from[i];
    }
}
