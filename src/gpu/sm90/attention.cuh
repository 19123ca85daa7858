// SPDX-License-Identifier: MIT
// What attention's kernels for Hopper share: tiles, what a thread holds of one, and chains of matrix
// instructions.
//
// A tile is 64 tokens' part of one head: for each 64 columns a box of 64 lines. As an operand its lines are
// rows (the inner dimension is the head's width) or columns (the inner dimension is the tokens).
#pragma once

#include <cmath>
#include <cstdint>

#include "gpu/block_reduce.cuh"
#include "gpu/mma.cuh"
#include "gpu/numbers.cuh"
#include "gpu/sm90/pipeline.cuh"
#include "gpu/sm90/wgmma.cuh"
#include "gpu/tensor_map.h"

namespace moe::gpu::sm90 {

inline constexpr int kTokens = 64;  // of the tiles that a loop runs over, and of a warpgroup
inline constexpr uint32_t kBoxBytes = kTokens * kLine * 2;
template <int width>
inline constexpr uint32_t kTileBytes = kTokens* width * 2;
inline constexpr float kLog2e = 1.4426950408889634F;

// Two consecutive elements of each 8 columns, for 2 rows: what a thread holds of a product with 64 columns.
using Fragment = float[32];
// The same of a product with as many columns as a head is wide.
template <int width>
using WideFragment = Fragment[width / kLine];

// What a thread holds of a 64 x `width` product, rounded to T (bf16 or f16): an A operand whose inner
// dimension is the columns.
template <class T, int width = 64>
struct Packed {
  uint32_t pieces[width / 16][4];
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
template <class T, size_t boxes>
__device__ __forceinline__ void add_tokens(Fragment (&out)[boxes], const Packed<T>& a,
                                           const unsigned char* b) {
#pragma unroll
  for (uint32_t box = 0; box < boxes; ++box) {
    const uint64_t columns = columns_descriptor(b + box * kBoxBytes, 0, kBoxBytes);
#pragma unroll
    for (uint32_t k16 = 0; k16 < kTokens / 16; ++k16)
      wgmma_registers<T, 1>(out[box], a.pieces[k16], advanced(columns, k16 * 2 * kLineGroup));
  }
}

// Where piece k16 of a tile's rows begins, in bytes.
__host__ __device__ constexpr uint32_t rows_offset(uint32_t k16) {
  return k16 / 4 * kBoxBytes + k16 % 4 * 32;
}

// out[m][n] = sum over the head's width of a[m] b[n].
template <class T, int width>
__device__ __forceinline__ void multiply_rows(Fragment& out, const Packed<T, width>& a,
                                              const unsigned char* b) {
  const uint64_t rows = rows_descriptor(b, 0);
  wgmma_registers_first<T, 0>(out, a.pieces[0], rows);
#pragma unroll
  for (uint32_t k16 = 1; k16 < width / 16; ++k16)
    wgmma_registers<T, 0>(out, a.pieces[k16], advanced(rows, rows_offset(k16)));
}

// The same with a in shared memory, as b.
template <class T, int width>
__device__ __forceinline__ void multiply_rows(Fragment& out, const unsigned char* a, const unsigned char* b) {
  const uint64_t a_rows = rows_descriptor(a, 0), b_rows = rows_descriptor(b, 0);
  wgmma_first<T, 0, 0>(out, a_rows, b_rows);
#pragma unroll
  for (uint32_t k16 = 1; k16 < width / 16; ++k16)
    wgmma<T, 0, 0>(out, advanced(a_rows, rows_offset(k16)), advanced(b_rows, rows_offset(k16)), true);
}

// Of tiles of a [N, heads, width] tensor, and of `columns` columns from `from` on of the packed rows.
inline CUtensorMap map_of_heads(const Tensor& t) {
  return tensor_map(t.dtype(), t.data(), t.dim(0), t.dim(1) * t.dim(2), kTokens);
}
inline CUtensorMap map_of_packed(const Tensor& packed_NP, int64_t from, int64_t columns) {
  return tensor_map(packed_NP.dtype(), static_cast<const uint16_t*>(packed_NP.data()) + from,
                    packed_NP.dim(0), columns, kTokens, packed_NP.dim(1));
}

// A tile of keys and their values.
template <int width>
struct alignas(1024) KeyStage {
  unsigned char k[kTileBytes<width>], v[kTileBytes<width>];
};

// One lane: copies the tile at `column` and `token`.
template <int width>
__device__ __forceinline__ void load_tile(unsigned char* to, const CUtensorMap* map, Barrier* full,
                                          int column, int token) {
#pragma unroll
  for (int box = 0; box < width / kLine; ++box)
    tma_load(to + box * kBoxBytes, map, full, column + box * kLine, token);
}

// All lanes of the producer warp: brings the tile at `column` and `token` of keys and values to the walk's
// stage.
template <int width, class Shared>
__device__ __forceinline__ void copy_key_tile(Shared& shared, const PipelineState<Shared::kStages>& walk,
                                              const CUtensorMap* k, const CUtensorMap* v, int column,
                                              int token) {
  shared.pipeline.wait_empty(walk);
  if (elect_one()) {
    KeyStage<width>& stage = shared.stages[walk.stage];
    Barrier* const full = &shared.pipeline.full[walk.stage];
    barrier_arrive_expect(full, sizeof(stage));
    load_tile<width>(stage.k, k, full, column, token);
    load_tile<width>(stage.v, v, full, column, token);
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

// Where column `column` (even) of a box's line lies, in bytes, as TMA's swizzle leaves it.
__device__ __forceinline__ int tile_offset(int line, int column) {
  return line * 128 + (column * 2 ^ line % 8 * 16);
}
// Rows fragment_row(0) and fragment_row(1) of a tile, as an A operand whose inner dimension is the head's
// width: for what a loop keeps, so that only one of its operands is read from shared memory.
template <class T, int width>
__device__ __forceinline__ void load_tile_rows(Packed<T, width>& a, const unsigned char* tile) {
#pragma unroll
  for (int piece = 0; piece < width / 16; ++piece)
#pragma unroll
    for (int x = 0; x < 4; ++x) {
      const unsigned char* const box = tile + piece / 4 * kBoxBytes;
      const int column = 16 * (piece % 4) + 8 * (x / 2) + fragment_column();
      a.pieces[piece][x] = *reinterpret_cast<const uint32_t*>(box + tile_offset(fragment_row(x % 2), column));
    }
}

}  // namespace moe::gpu::sm90
