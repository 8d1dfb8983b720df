// What kernels need of CUDA, or on the host instead of it: then a kernel is a function of one block, which is called
// for each block in turn, with one thread or with several at a time (tests/support/cuda_on_host.py).
#pragma once

#ifdef __CUDACC_RTC__
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
typedef long long int64_t;
typedef int int32_t;
#else
#include <stdint.h>
#endif

#ifdef __CUDACC__
#define UNROLL_4 _Pragma("unroll 4")
#else
#define UNROLL_4
#define __device__
#define __global__
#define __shared__ static
struct Place {
    unsigned int x, y, z;
};
static thread_local Place blockIdx, threadIdx, blockDim = {1, 1, 1}, gridDim = {1, 1, 1};
static inline uint32_t atomicMin(uint32_t* place, uint32_t value) {
    uint32_t before = __atomic_load_n(place, __ATOMIC_RELAXED);
    const int order = __ATOMIC_RELAXED;
    while (value < before && !__atomic_compare_exchange_n(place, &before, value, 0, order, order)) {
    }
    return before;
}
static void (*wait_for_block)() = 0;  // set where a block has several threads
static inline void __syncthreads() {
    if (wait_for_block) wait_for_block();
}
static inline uint64_t __umul64hi(uint64_t x, uint64_t y) { return (uint64_t)(((unsigned __int128)x * y) >> 64); }
#endif
