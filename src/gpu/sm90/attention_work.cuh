// SPDX-License-Identifier: MIT
// How attention on Hopper is cut into pieces of work, and in which order blocks take them.
#pragma once

#include <cmath>
#include <cstdint>

#include "gpu/block_reduce.cuh"
#include "gpu/numbers.cuh"
#include "gpu/sm90/attention.cuh"
#include "ops/attention.h"

namespace moe::gpu::sm90 {

struct Shape {
  int B, T, H, G;
  float scale;                        // of the scores: 1 / sqrt(width)
  const int32_t* first_BT = nullptr;  // forward: the first key that each token sees; negative for padding
};

inline Shape shape_of(const Tensor& doc_start_BT, const Heads& heads) {
  return {static_cast<int>(doc_start_BT.dim(0)), static_cast<int>(doc_start_BT.dim(1)),
          static_cast<int>(heads.query), static_cast<int>(heads.kv),
          1 / std::sqrt(static_cast<float>(heads.dim))};
}

// The smallest first key of tokens [begin, end) of a row; a large number when all are padding, which is
// negative or kSeesNothing. All lanes of a warp call it.
__device__ __forceinline__ int smallest_first(const int32_t* first_T, int begin, int end) {
  int smallest = 1 << 30;
#pragma unroll 4
  for (int t = begin + static_cast<int>(threadIdx.x) % 32; t < end; t += 32) {
    const int first = first_T[t];
    if (first >= 0) smallest = min(smallest, first);
  }
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2)
    smallest = min(smallest, __shfl_xor_sync(kAllLanes, smallest, lanes));
  return smallest;
}

// Work is cut into units, which share what they read in a loop, and each unit into tiles. Blocks take pieces
// by index: first all tiles of as many units as fit the second-level cache together, those with most work
// first, then the next units. (In the order "one tile of every unit, then the next" each tile brings
// everything from memory again.)
struct Place {
  int unit, tile;
};
__host__ __device__ inline int units_at_once(int bytes_of_unit) {
  constexpr int kBytes = 12 << 20;  // of a cache of 50 MB, of which either half may hold a copy
  return kBytes > bytes_of_unit ? kBytes / bytes_of_unit : 1;
}
__host__ __device__ inline Place place(int index, int units, int tiles, int at_once) {
  const int from = index / (at_once * tiles) * at_once, rest = index - from * tiles;
  const int here = at_once < units - from ? at_once : units - from;
  return {from + rest % here, rest / here};
}

// The queries that a block takes, 64 for each of its warpgroups: as far as possible the same ones of heads
// that share keys, so that the warpgroups see the same keys.
template <int groups>
struct QueryWork {
  int row, head, query;
  int heads, queries;  // heads * queries = groups * kTokens
  __device__ __forceinline__ int head_of(int group) const { return head + group % heads; }
  __device__ __forceinline__ int query_of(int group) const { return query + group / heads * kTokens; }
};

template <int groups>
__host__ __device__ inline int heads_of_block(const Shape& shape) {
  int heads = groups;
  while (shape.H / shape.G % heads != 0) heads /= 2;
  return heads;
}
// Pieces of work for all queries.
template <int groups>
__host__ __device__ inline int query_blocks(const Shape& shape) {
  const int heads = heads_of_block<groups>(shape), queries = groups * kTokens / heads;
  return (shape.T + queries - 1) / queries * shape.B * (shape.H / heads);
}
// The latest queries of a unit, which see most keys, come first.
template <int groups, int width>
__device__ __forceinline__ QueryWork<groups> query_work(const Shape& shape, int index) {
  const int heads = heads_of_block<groups>(shape), queries = groups * kTokens / heads;
  const int units = shape.H / heads, tiles = (shape.T + queries - 1) / queries;
  const Place at = place(index, shape.B * units, tiles, units_at_once(shape.T * 2 * width * 2));
  return {at.unit / units, at.unit % units * heads, (tiles - 1 - at.tile) * queries, heads, queries};
}

}  // namespace moe::gpu::sm90
