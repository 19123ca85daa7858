// SPDX-License-Identifier: MIT
// Sums and maxima over a warp and a block, in a fixed order: the same bits each time. All threads get the
// result.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace moe::gpu {

inline constexpr unsigned kAllLanes = 0xffffffffU;

// Over `lanes` lanes side by side, a power of two.
template <int lanes, class T>
__device__ __forceinline__ T lanes_sum(T value) {
#pragma unroll
  for (int step = lanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  return lanes_sum<32>(value);
}

__device__ __forceinline__ float larger(float a, float b) {
  return fmaxf(a, b);
}
__device__ __forceinline__ uint32_t larger(uint32_t a, uint32_t b) {
  return max(a, b);
}

template <class T>
__device__ __forceinline__ T warp_max(T value) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) value = larger(value, __shfl_xor_sync(kAllLanes, value, lanes));
  return value;
}

// Of a block of whole warps, at most 1,024 threads in x alone. Every thread must call it; it begins and ends
// with a barrier, so consecutive calls may follow each other.
template <class T>
__device__ __forceinline__ T block_sum(T value) {
  __shared__ T parts[32];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  value = warp_sum(value);
  __syncthreads();
  if (lane == 0) parts[warp] = value;
  __syncthreads();
  return warp_sum(lane < warps ? parts[lane] : T(0));
}

template <class T>
__device__ __forceinline__ T block_max(T value) {
  __shared__ T parts[32];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  value = warp_max(value);
  __syncthreads();
  if (lane == 0) parts[warp] = value;
  __syncthreads();
  return warp_max(lane < warps ? parts[lane] : parts[0]);
}

}  // namespace moe::gpu
