// SPDX-License-Identifier: MIT
// What attention's kernels for Hopper share: tiles, what a thread holds of one, and chains of matrix
// instructions at head width 64.
//
// A tile is 64 lines of 64 elements: a token's part of one head. As an operand its lines are rows (the inner
// dimension is the head's width) or columns (the inner dimension is the tokens).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "gpu/block_reduce.cuh"
#include "gpu/mma.cuh"
#include "gpu/numbers.cuh"
#include "gpu/sm90/pipeline.cuh"
#include "gpu/sm90/wgmma.cuh"
#include "gpu/tensor_map.h"

namespace moe::gpu::sm90 {

inline constexpr int kWidth = 64;   // of a head
inline constexpr int kTokens = 64;  // of the tiles that a loop runs over, and of a warpgroup
inline constexpr uint32_t kTileBytes = kTokens * kWidth * 2;  // of kTokens lines
inline constexpr float kLog2e = 1.4426950408889634F;

// Two consecutive elements of each 8 columns, for 2 rows: what a thread holds of a product with 64 columns.
using Fragment = float[32];

// What a thread holds of a 64 x 64 product, rounded to T (bf16 or f16): an A operand whose inner dimension is
// the 64 columns.
template <class T>
struct Packed {
  uint32_t pieces[4][4];
};
template <class T>
__device__ __forceinline__ Packed<T> packed(const Fragment& x) {
  Packed<T> result;
#pragma unroll
  for (int piece = 0; piece < 4; ++piece)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int j = 4 * (2 * piece + half);
      result.pieces[piece][2 * half] = pack<T>(x[j], x[j + 1]);
      result.pieces[piece][2 * half + 1] = pack<T>(x[j + 2], x[j + 3]);
    }
  return result;
}

// out[m][d] += sum over 64 tokens of a[m][token] b[token][d].
template <class T>
__device__ __forceinline__ void add_tokens(Fragment& out, const Packed<T>& a, const unsigned char* b) {
  const uint64_t columns = columns_descriptor(b, 0, kTileBytes);
#pragma unroll
  for (int k16 = 0; k16 < kTokens / 16; ++k16)
    wgmma_registers<T, 1>(out, a.pieces[k16], advanced(columns, static_cast<uint32_t>(k16) * 2 * kLineGroup));
}

// out[m][n] = sum over the head's width of a[m] b[n].
template <class T>
__device__ __forceinline__ void multiply_rows(Fragment& out, const Packed<T>& a, const unsigned char* b) {
  const uint64_t rows = rows_descriptor(b, 0);
  wgmma_registers_first<T, 0>(out, a.pieces[0], rows);
#pragma unroll
  for (int k16 = 1; k16 < kWidth / 16; ++k16)
    wgmma_registers<T, 0>(out, a.pieces[k16], advanced(rows, static_cast<uint32_t>(k16) * 32));
}

// The same with a in shared memory, as b.
template <class T>
__device__ __forceinline__ void multiply_rows(Fragment& out, const unsigned char* a, const unsigned char* b) {
  const uint64_t a_rows = rows_descriptor(a, 0), b_rows = rows_descriptor(b, 0);
  wgmma_first<T, 0, 0>(out, a_rows, b_rows);
#pragma unroll
  for (uint32_t k16 = 1; k16 < kWidth / 16; ++k16)
    wgmma<T, 0, 0>(out, advanced(a_rows, k16 * 32), advanced(b_rows, k16 * 32), true);
}

// Of tiles of a [N, heads, width] tensor, and of `columns` columns from `from` on of the packed rows.
inline CUtensorMap map_of_heads(const Tensor& t) {
  return tensor_map(t.dtype(), t.data(), t.dim(0), t.dim(1) * kWidth, kTokens);
}
inline CUtensorMap map_of_packed(const Tensor& packed_NP, int64_t from, int64_t columns) {
  return tensor_map(packed_NP.dtype(), static_cast<const uint16_t*>(packed_NP.data()) + from,
                    packed_NP.dim(0), columns, kTokens, packed_NP.dim(1));
}

// A tile of keys and their values.
struct alignas(1024) KeyStage {
  unsigned char k[kTileBytes], v[kTileBytes];
};

// All lanes of the producer warp: brings the tile at `column` and `token` of keys and values to the walk's
// stage.
template <class Shared>
__device__ __forceinline__ void copy_key_tile(Shared& shared, const PipelineState<Shared::kStages>& walk,
                                              const CUtensorMap* k, const CUtensorMap* v, int column,
                                              int token) {
  shared.pipeline.wait_empty(walk);
  if (elect_one()) {
    KeyStage& stage = shared.stages[walk.stage];
    Barrier* const full = &shared.pipeline.full[walk.stage];
    barrier_arrive_expect(full, sizeof(KeyStage));
    tma_load(stage.k, k, full, column, token);
    tma_load(stage.v, v, full, column, token);
  }
  __syncwarp();
}

// Row i (0, 1) of this thread's fragments within its warpgroup's 64, and the first of its columns within 8.
__device__ __forceinline__ int fragment_row(int i) {
  const int thread = static_cast<int>(threadIdx.x) % kGroup;
  return thread / 32 * 16 + thread % 32 / 4 + 8 * i;
}
__device__ __forceinline__ int fragment_column() {
  return static_cast<int>(threadIdx.x) % 4 * 2;
}

// Where column `column` (even) of a tile's line lies, in bytes, as TMA's swizzle leaves it.
__device__ __forceinline__ int tile_offset(int line, int column) {
  return line * 128 + (column * 2 ^ line % 8 * 16);
}
// Rows fragment_row(0) and fragment_row(1) of a tile, as an A operand whose inner dimension is the head's
// width: for what a loop keeps, so that only one of its operands is read from shared memory.
template <class T>
__device__ __forceinline__ void load_tile_rows(Packed<T>& a, const unsigned char* tile) {
#pragma unroll
  for (int piece = 0; piece < 4; ++piece)
#pragma unroll
    for (int x = 0; x < 4; ++x) {
      const int column = 16 * piece + 8 * (x / 2) + fragment_column();
      a.pieces[piece][x] =
          *reinterpret_cast<const uint32_t*>(tile + tile_offset(fragment_row(x % 2), column));
    }
}

// Four lanes next to each other hold a 4 x 4 matrix of words, a row each: transposes it.
__device__ __forceinline__ void transpose(uint32_t (&w)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int bit = 1; bit < 4; bit *= 2)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if ((i & bit) != 0) continue;
      const bool upper = (lane & bit) != 0;
      const uint32_t got = __shfl_xor_sync(kAllLanes, upper ? w[i] : w[i | bit], bit);
      (upper ? w[i] : w[i | bit]) = got;
    }
}

// Row i's part of a fragment times factor, rounded: this lane's 8 elements from column piece_column(half) on.
// All lanes of the warp call it.
__device__ __forceinline__ int piece_column(int half) {
  return 32 * half + static_cast<int>(threadIdx.x) % 4 * 8;
}
template <class T>
__device__ __forceinline__ Vec<T, 8> row_piece(const Fragment& x, int i, int half, float factor) {
  uint32_t words[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const int at = 4 * (4 * half + j) + 2 * i;
    words[j] = pack<T>(x[at] * factor, x[at + 1] * factor);
  }
  transpose(words);
  Vec<T, 8> piece;
  memcpy(&piece, words, sizeof(piece));
  return piece;
}

// Rounds to T and stores the rows of a fragment, times factor: where row(i) is not null.
template <class T, class Row>
__device__ __forceinline__ void store_rows(const Fragment& x, float factor, Row row) {
#pragma unroll
  for (int i = 0; i < 2; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const auto piece = row_piece<T>(x, i, half, factor);
      if (T* const to = row(i)) store(to + piece_column(half), piece);
    }
}

}  // namespace moe::gpu::sm90
