// SPDX-License-Identifier: MIT
// What attention's kernels for Hopper share: shapes, who sees whom, and chains of matrix instructions at head width 64.
//
// A tile is 64 or 128 lines of 64 elements: a token's part of one head. As an operand its lines are rows (the inner
// dimension is the head's width) or columns (the inner dimension is the tokens).
#pragma once

#include <cmath>
#include <cstdint>

#include "gpu/block_reduce.cuh"
#include "gpu/mma.cuh"
#include "gpu/numbers.cuh"
#include "gpu/pipeline_hopper.cuh"
#include "gpu/wgmma.cuh"

namespace moe::gpu::hopper {

inline constexpr int kWidth = 64;   // of a head
inline constexpr int kTokens = 64;  // of the tiles that a loop runs over, and of a warpgroup
inline constexpr uint32_t kTileBytes = kTokens * kWidth * 2;  // of kTokens lines
inline constexpr int kOwned = 2 * kTokens;  // queries or keys of a block: 64 of each warpgroup
inline constexpr float kLog2e = 1.4426950408889634F;

struct AttentionShape {
  const int32_t* first_BT;
  int B, T, H, G;
  float scale;  // of the scores: 1 / sqrt(width)
};

inline AttentionShape attention_shape(const Tensor& first_BT, int64_t H, int64_t G) {
  return {pointer<int32_t>(first_BT),
          static_cast<int>(first_BT.dim(0)),
          static_cast<int>(first_BT.dim(1)),
          static_cast<int>(H),
          static_cast<int>(G),
          1 / std::sqrt(static_cast<float>(kWidth))};
}

// Two consecutive elements of each 8 columns, for 2 rows: what a thread holds of a product with 64 columns.
using Fragment = float[32];

// The rows of A (64 from here on) times the rows of B: out[m][n] = sum over the head's width of a[m] b[n].
__device__ __forceinline__ void multiply_rows(Fragment& out, const unsigned char* a, const unsigned char* b) {
  wgmma_first<0, 0>(out, rows_descriptor(a, 0), rows_descriptor(b, 0));
#pragma unroll
  for (int k16 = 1; k16 < kWidth / 16; ++k16)
    wgmma<0, 0>(out, rows_descriptor(a, k16), rows_descriptor(b, k16), true);
}

// What a thread holds of a 64 x 64 product, rounded to bf16: an A operand whose inner dimension is the 64 columns.
struct Packed {
  uint32_t pieces[4][4];
};
__device__ __forceinline__ Packed packed(const Fragment& x) {
  Packed result;
#pragma unroll
  for (int piece = 0; piece < 4; ++piece)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int j = 4 * (2 * piece + half);
      result.pieces[piece][2 * half] = pack<bf16>(x[j], x[j + 1]);
      result.pieces[piece][2 * half + 1] = pack<bf16>(x[j + 2], x[j + 3]);
    }
  return result;
}

// out[m][d] = sum over 64 tokens of a[m][token] b[token][d], or += that.
template <bool first>
__device__ __forceinline__ void add_tokens(Fragment& out, const Packed& a, const unsigned char* b) {
  if constexpr (first)
    wgmma_registers_first<1>(out, a.pieces[0], columns_descriptor(b, 0, kTileBytes));
  else
    wgmma_registers<1>(out, a.pieces[0], columns_descriptor(b, 0, kTileBytes));
#pragma unroll
  for (int k16 = 1; k16 < kTokens / 16; ++k16)
    wgmma_registers<1>(out, a.pieces[k16], columns_descriptor(b, k16, kTileBytes));
}

// The smallest document start among tokens [begin, end) of a row, padding left out; a large number when all are padding.
// All lanes of a warp call it.
__device__ __forceinline__ int smallest_first(const int32_t* first_T, int begin, int end) {
  int smallest = 1 << 30;
  for (int t = begin + static_cast<int>(threadIdx.x) % 32; t < end; t += 32)
    if (first_T[t] >= 0) smallest = min(smallest, first_T[t]);
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2)
    smallest = min(smallest, __shfl_xor_sync(kAllLanes, smallest, lanes));
  return smallest;
}

// A block's 128 queries of one head, and the keys they may see: from `begin`, a multiple of kTokens, up to `end`.
struct QueryWork {
  int row, head, query, begin, end;
};

__device__ __forceinline__ QueryWork find_query_work(const AttentionShape& shape) {
  const int tiles = (shape.T + kOwned - 1) / kOwned, pairs = shape.B * shape.H;
  const int x = static_cast<int>(blockIdx.x), pair = x % pairs;
  QueryWork work{pair / shape.H, pair % shape.H, (tiles - 1 - x / pairs) * kOwned, 0,
                 0};  // the longest first
  const int last = min(work.query + kOwned, shape.T);
  const int first = smallest_first(shape.first_BT + int64_t{work.row} * shape.T, work.query, last);
  // A tile of padding alone has one tile of keys as well, of which it sees none.
  work.begin = min(first, work.query) / kTokens * kTokens;
  work.end = first < last ? last : work.begin + 1;
  return work;
}

// Row i (0, 1) of this thread's fragments within its warpgroup's 64, and the first of its columns within 8.
__device__ __forceinline__ int fragment_row(int i) {
  const int thread = static_cast<int>(threadIdx.x) % kGroup;
  return thread / 32 * 16 + thread % 32 / 4 + 8 * i;
}
__device__ __forceinline__ int fragment_column() {
  return static_cast<int>(threadIdx.x) % 4 * 2;
}

// Rounds and stores one row's part of a fragment, times factor.
__device__ __forceinline__ void store_row(bf16* row, const Fragment& x, int i, float factor) {
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const Vec<bf16, 2> pair{from_float<bf16>(x[4 * j + 2 * i] * factor),
                            from_float<bf16>(x[4 * j + 2 * i + 1] * factor)};
    store(row + 8 * j + fragment_column(), pair);
  }
}

}  // namespace moe::gpu::hopper
