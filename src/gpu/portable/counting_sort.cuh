// SPDX-License-Identifier: MIT
// A stable counting sort on the device: places for n items in the order of their keys 0..keys-1, items of
// equal key in their own order; items with a negative key get none. Each tile of items counts its keys; one
// block turns the counts into places; each tile hands them out. Only integers are added, so the result is the
// same each time.
#pragma once

#include <cstdint>

#include "gpu/block_reduce.cuh"
#include "gpu/dynamic_shared.cuh"
#include "gpu/launch.h"

namespace moe::gpu {

inline constexpr int kSortTile = 1024;  // items
inline constexpr int kSortThreads = 256;
inline constexpr int kSortWarps = kSortThreads / 32;
inline constexpr int kItemsOfWarp = kSortTile / kSortWarps;  // consecutive ones

// How often each key occurs among the items of each tile: count[tile][key].
template <class Key>
__global__ void count_keys_kernel(int32_t* count, int n, int keys, Key key) {
  int* const here = dynamic_shared<int>();
  for (int k = static_cast<int>(threadIdx.x); k < keys; k += kSortThreads) here[k] = 0;
  __syncthreads();
  const int begin = static_cast<int>(blockIdx.x) * kSortTile, end = min(begin + kSortTile, n);
  for (int i = begin + static_cast<int>(threadIdx.x); i < end; i += kSortThreads) {
    const int k = key(i);
    if (k >= 0) atomicAdd(here + k, 1);
  }
  __syncthreads();
  for (int k = static_cast<int>(threadIdx.x); k < keys; k += kSortThreads)
    count[int64_t{blockIdx.x} * keys + k] = here[k];
}

// count[tile][key] becomes the number of earlier items of that key, in the tiles before. Returns their number
// in all; *early is their number in the first `early_tiles` tiles.
__device__ __forceinline__ int count_before(int32_t* count, int tiles, int keys, int key, int early_tiles,
                                            int* early) {
  constexpr int batch = 8;  // loads under way at once
  int total = 0;
  *early = 0;
  for (int begin = 0; begin < tiles; begin += batch) {
    int own[batch];
#pragma unroll
    for (int j = 0; j < batch; ++j) own[j] = begin + j < tiles ? count[int64_t{begin + j} * keys + key] : 0;
#pragma unroll
    for (int j = 0; j < batch; ++j) {
      if (begin + j < tiles) count[int64_t{begin + j} * keys + key] = total;
      total += own[j];
      if (begin + j < early_tiles) *early = total;
    }
  }
  return total;
}

// The sum of value over the threads before this one in the block, and over all threads in *sum.
__device__ __forceinline__ int block_sum_before(int value, int* sum) {
  __shared__ int parts[32];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  int upto = value;
#pragma unroll
  for (unsigned step = 1; step < 32; step *= 2) {
    const int below = __shfl_up_sync(kAllLanes, upto, step);
    if (lane >= static_cast<int>(step)) upto += below;
  }
  __syncthreads();
  if (lane == 31) parts[warp] = upto;
  __syncthreads();
  int before = 0, all = 0;
  for (int w = 0; w < warps; ++w) {
    before += w < warp ? parts[w] : 0;
    all += parts[w];
  }
  *sum = all;
  return before + upto - value;
}

// Calls place(i, k, rank) for each item i of key k, where rank counts the items of that key before i; without
// meaning where k < 0. before[tile][key]: as count_before leaves it. Needs kSortWarps * keys ints of dynamic
// shared memory.
template <class Key, class Place>
__global__ void place_items_kernel(const int32_t* before, int n, int keys, Key key, Place place) {
  int* const next = dynamic_shared<int>();  // [warp][key]: the rank of the warp's next item of that key
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  int* const own = next + warp * keys;
  for (int k = lane; k < keys; k += 32) own[k] = 0;
  __syncwarp();
  const int begin = static_cast<int>(blockIdx.x) * kSortTile + warp * kItemsOfWarp;
  const int end = min(begin + kItemsOfWarp, n);
  for (int i = begin + lane; i < end; i += 32) {
    const int k = key(i);
    if (k >= 0) atomicAdd(own + k, 1);
  }
  __syncthreads();
  for (int k = static_cast<int>(threadIdx.x); k < keys; k += kSortThreads) {
    int total = before[int64_t{blockIdx.x} * keys + k];
    for (int w = 0; w < kSortWarps; ++w) {
      const int count = next[w * keys + k];
      next[w * keys + k] = total;
      total += count;
    }
  }
  __syncthreads();
  for (int first = begin; first < end; first += 32) {
    const int i = first + lane, k = i < end ? key(i) : -1;
    const unsigned same = __match_any_sync(kAllLanes, static_cast<unsigned>(k));
    const int lower = __popc(same & ((1U << lane) - 1));
    if (i < end) place(i, k, k >= 0 ? own[k] + lower : -1);
    __syncwarp();
    if (k >= 0 && lower == 0) own[k] += __popc(same);
    __syncwarp();
  }
}

}  // namespace moe::gpu
