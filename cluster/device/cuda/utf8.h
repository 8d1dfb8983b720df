// Code points of UTF-8.
#pragma once

#include "device.h"

// Return the code point at `at` of valid UTF-8, and move on to the next.
__device__ static inline uint32_t next_point(const uint8_t* data, int64_t& at) {
    const uint32_t b = data[at];
    if (b < 0x80) {
        at += 1;
        return b;
    }
    if (b < 0xE0) {
        at += 2;
        return (b & 0x1F) << 6 | (data[at - 1] & 0x3Fu);
    }
    if (b < 0xF0) {
        at += 3;
        return (b & 0x0F) << 12 | (data[at - 2] & 0x3Fu) << 6 | (data[at - 1] & 0x3Fu);
    }
    at += 4;
    return (b & 0x07) << 18 | (data[at - 3] & 0x3Fu) << 12 | (data[at - 2] & 0x3Fu) << 6 | (data[at - 1] & 0x3Fu);
}
