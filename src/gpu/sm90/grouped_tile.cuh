// SPDX-License-Identifier: MIT
// Which tiles of a grouped product a block computes on Hopper, and how a tile's sums leave the registers.
#pragma once

#include <cstdint>

#include "gpu/block_reduce.cuh"
#include "gpu/mma.cuh"
#include "gpu/numbers.cuh"
#include "gpu/sm90/pipeline.cuh"
#include "gpu/sm90/wgmma_operands.cuh"
#include "ops/ops.h"

namespace moe::gpu::grouped {

inline constexpr int kM = 128;
inline constexpr uint32_t kBox = kLine * 128;  // bytes of 64 lines
inline constexpr int kMostExperts = 512;       // whose rows are kept in shared memory

// One stage of shared memory: kM lines of A (or 2 boxes), then kN lines of B (or kN / 64 boxes).
template <int kN>
struct alignas(1024) Stage {
  unsigned char a[kM * 128];
  unsigned char b[kN * 128];
};

// c[m, n] = op(a) op(b) over `inner` for each expert, as ops/ops.h has it; `rows` those of all experts.
struct Product {
  const int32_t* offset_E1;
  int m, n, inner;  // the dimension that depends on the expert is 0
  int rows, experts;
  // Of a gathered operand: its row r is row slot_R[r] / choices of `tokens`, which is `width` wide.
  const uint16_t* tokens = nullptr;  // bf16 or f16: they are only moved
  const int32_t* slot_R = nullptr;
  int choices = 1, width = 0;
  uint32_t part = 0xFFFFFFFF;  // 2^32 - 1 over choices, rounded down

  // slot / choices: the estimate is at most one too small.
  __device__ __forceinline__ uint32_t token_of(uint32_t slot) const {
    const uint32_t token = __umulhi(slot, part), divisor = static_cast<uint32_t>(choices);
    return token + (slot - token * divisor >= divisor);
  }
};

// Where the experts' rows begin and, if rows are cut into tiles (NT and NN), which row tile is their first.
template <bool tiled>
struct Experts {
  int begin[kMostExperts + 1], first_tile[tiled ? kMostExperts + 1 : 1];

  // By one warp.
  __device__ __forceinline__ void read(const Product& p) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    int before = 0;  // tiles of the experts before this round
    for (int first = 0; first <= p.experts; first += 32) {
      const int e = first + lane;
      const int from = p.offset_E1[min(e, p.experts)], to = p.offset_E1[min(e + 1, p.experts)];
      int last = (to - from + kM - 1) / kM;  // tiles up to this expert, itself included
      const int tiles = last;
#pragma unroll
      for (unsigned lanes = 1; lanes < 32; lanes *= 2) {
        const int other = __shfl_up_sync(kAllLanes, last, lanes);
        if (lane >= static_cast<int>(lanes)) last += other;
      }
      if (e <= p.experts) {
        begin[e] = from;
        if (tiled) first_tile[e] = before + last - tiles;
      }
      before += __shfl_sync(kAllLanes, last, 31);
    }
  }
};

// Where a tile lies: rows and columns of c, coordinates of the operands, and how much of it counts.
struct Tile {
  int64_t c_row = 0;
  int expert = 0, column = 0, a_row = 0, b_row = 0, a_column = 0;
  int rows = 0, inner = 0;
};

// The block's tiles, every gridDim.x-th, in an order that all of its warps follow. The tiles of one expert
// are neighbours, those of the same rows first: so its weights and rows are read from memory once. width:
// columns of a tile.
template <MatmulLayout layout, int width>
class Tiles {
 public:
  // A tile of halves covers `width` columns of each half of c.
  using ExpertRows = Experts<layout != MatmulLayout::TN>;
  __device__ __forceinline__ Tiles(const Product& p, const ExpertRows& experts, bool halves)
      : p_(p), experts_(experts), n_(halves ? p.n / 2 : p.n), columns_((n_ + width - 1) / width) {
    if constexpr (layout == MatmulLayout::TN)
      tiles_ = p.experts * ((p.m + kM - 1) / kM) * columns_;
    else
      tiles_ = experts.first_tile[p.experts] * columns_;
  }

  __device__ __forceinline__ bool next(Tile& tile) {
    if (index_ >= tiles_) return false;
    const int row_tile = index_ / columns_;
    tile.column = (index_ - row_tile * columns_) * width;
    index_ += static_cast<int>(gridDim.x);
    if constexpr (layout == MatmulLayout::TN) {
      const int row_tiles = (p_.m + kM - 1) / kM;
      expert_ = row_tile / row_tiles;
      tile.a_column = (row_tile - expert_ * row_tiles) * kM;
      tile.a_row = tile.b_row = experts_.begin[expert_];
      tile.inner = experts_.begin[expert_ + 1] - tile.a_row;
      tile.rows = p_.m - tile.a_column;
      tile.c_row = int64_t{expert_} * p_.m + tile.a_column;
    } else {
      while (row_tile >= experts_.first_tile[expert_ + 1]) ++expert_;
      tile.a_row = experts_.begin[expert_] + (row_tile - experts_.first_tile[expert_]) * kM;
      tile.b_row = expert_ * (layout == MatmulLayout::NT ? p_.n : p_.inner);
      tile.inner = p_.inner;
      tile.rows = experts_.begin[expert_ + 1] - tile.a_row;
      tile.c_row = tile.a_row;
    }
    tile.expert = expert_;
    return true;
  }

 private:
  const Product& p_;
  const ExpertRows& experts_;
  int n_, columns_, tiles_ = 0, index_ = static_cast<int>(blockIdx.x), expert_ = 0;
};

// ---- sums of 64 rows of a tile, the first half or the second, as wgmma leaves them: a thread has two rows
// (i = 0, 1) ----

__device__ __forceinline__ int tile_row(int half, int i) {
  const int thread = static_cast<int>(threadIdx.x) % kGroup;
  return half * 64 + thread / 32 * 16 + thread % 32 / 4 + i * 8;
}

// Four lanes hold a row's columns in pairs. v[j]: pair `lane % 4` of the j-th 8 columns; after it, pair j of
// the (lane % 4)-th 8 columns. So a lane has 8 neighbours.
template <class T>
__device__ __forceinline__ void transpose_pairs(T (&v)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % 4;
  const bool odd = lane % 2 != 0, high = lane / 2 != 0;
#pragma unroll
  for (int j = 0; j < 4; j += 2) {
    const T other = __shfl_xor_sync(kAllLanes, odd ? v[j] : v[j + 1], 1);
    (odd ? v[j] : v[j + 1]) = other;
  }
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const T other = __shfl_xor_sync(kAllLanes, high ? v[j] : v[j + 2], 2);
    (high ? v[j] : v[j + 2]) = other;
  }
}

// The thread's columns of 32, the g-th: from here 8 of them.
__device__ __forceinline__ int chunk_column(int g) {
  return g * 32 + static_cast<int>(threadIdx.x) % 4 * 8;
}
// Their sums in row i. All lanes of the warp call it.
template <int count>
__device__ __forceinline__ Vec<float, 8> chunk(const float (&sum)[count], int i, int g) {
  float even[4], odd[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    even[j] = sum[(g * 4 + j) * 4 + i * 2];
    odd[j] = sum[(g * 4 + j) * 4 + i * 2 + 1];
  }
  transpose_pairs(even);
  transpose_pairs(odd);
  return {{even[0], odd[0], even[1], odd[1], even[2], odd[2], even[3], odd[3]}};
}
// The same, rounded to T: 16 bytes. after(pair, j): what becomes of the rounded pair of the thread among the
// j-th 8 columns.
template <class T, int count, class After>
__device__ __forceinline__ uint4 rounded_chunk(const float (&sum)[count], int i, int g, const After& after) {
  uint32_t pairs[4];
#pragma unroll
  for (int j = 0; j < 4; ++j)
    pairs[j] = after(pack<T>(sum[(g * 4 + j) * 4 + i * 2], sum[(g * 4 + j) * 4 + i * 2 + 1]), g * 4 + j);
  transpose_pairs(pairs);
  return {pairs[0], pairs[1], pairs[2], pairs[3]};
}
template <class T, int count>
__device__ __forceinline__ uint4 rounded_chunk(const float (&sum)[count], int i, int g) {
  return rounded_chunk<T>(sum, i, g, [](uint32_t pair, int) { return pair; });
}

}  // namespace moe::gpu::grouped
