// SPDX-License-Identifier: MIT
// What kernels use of CUDA without including anything: qualifiers, vectors, barriers, exchanges between
// lanes, arithmetic.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "emulated_cuda/block.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __shared__ static thread_local  // a block runs on one thread of the host

// ---- vectors ----
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) {
  return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
inline int2 make_int2(int x, int y) {
  return {x, y};
}
inline int4 make_int4(int x, int y, int z, int w) {
  return {x, y, z, w};
}
inline uint2 make_uint2(unsigned x, unsigned y) {
  return {x, y};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}

constexpr int warpSize = 32;

// ---- barriers and warps ----
inline void __syncthreads() {
  emulated_cuda::block_barrier();
}
inline void __syncwarp(unsigned mask = 0xffffffffU) {
  emulated_cuda::warp_barrier(mask);
}
inline void __threadfence() {}
[[noreturn]] inline void __trap() {
  std::fputs("emulated CUDA: a kernel trapped\n", stderr);
  std::abort();
}

namespace emulated_cuda {
template <class T>
T from_lane(const unsigned char* slots, unsigned source) {
  T value;
  std::memcpy(&value, slots + size_t{64} * source, sizeof(T));
  return value;
}
template <class T>
T shuffle(unsigned mask, T value, unsigned source, bool inside) {
  const unsigned char* slots = warp_exchange(mask, &value, sizeof(T));
  return inside ? from_lane<T>(slots, source) : value;
}
}  // namespace emulated_cuda

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const unsigned lane = emulated_cuda::lane(), w = static_cast<unsigned>(width);
  return emulated_cuda::shuffle(mask, value, (lane & ~(w - 1)) + (static_cast<unsigned>(source) & (w - 1)),
                                true);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  const unsigned lane = emulated_cuda::lane(), source = lane ^ static_cast<unsigned>(lanes);
  return emulated_cuda::shuffle(mask, value, source,
                                source / static_cast<unsigned>(width) <= lane / static_cast<unsigned>(width));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned lane = emulated_cuda::lane();
  return emulated_cuda::shuffle(mask, value, lane - delta, lane % static_cast<unsigned>(width) >= delta);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned lane = emulated_cuda::lane(), w = static_cast<unsigned>(width);
  return emulated_cuda::shuffle(mask, value, lane + delta, lane % w + delta < w);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const int set = predicate != 0 ? 1 : 0;
  const unsigned char* slots = emulated_cuda::warp_exchange(mask, &set, sizeof(set));
  unsigned result = 0;
  for (unsigned i = 0; i < 32; ++i)
    if ((mask >> i & 1U) != 0 && emulated_cuda::from_lane<int>(slots, i) != 0) result |= 1U << i;
  return result;
}
inline int __any_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) == mask ? 1 : 0;
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value) {
  const unsigned char* slots = emulated_cuda::warp_exchange(mask, &value, sizeof(value));
  unsigned result = 0;
  for (unsigned i = 0; i < 32; ++i)
    if ((mask >> i & 1U) != 0) {
      const auto other = emulated_cuda::from_lane<unsigned>(slots, i);
      result = other > result ? other : result;
    }
  return result;
}
inline unsigned __match_any_sync(unsigned mask, unsigned value) {
  const unsigned char* slots = emulated_cuda::warp_exchange(mask, &value, sizeof(value));
  unsigned result = 0;
  for (unsigned i = 0; i < 32; ++i)
    if ((mask >> i & 1U) != 0 && emulated_cuda::from_lane<unsigned>(slots, i) == value) result |= 1U << i;
  return result;
}
inline int __syncthreads_or(int predicate) {
  static thread_local int any;
  __syncthreads();
  any = 0;
  __syncthreads();
  any |= predicate != 0 ? 1 : 0;
  __syncthreads();
  const int result = any;
  __syncthreads();
  return result;
}
