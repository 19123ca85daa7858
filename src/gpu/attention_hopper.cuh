// SPDX-License-Identifier: MIT
// What attention's kernels for Hopper share: shapes, whose queries a block takes, and chains of matrix instructions at
// head width 64.
//
// A tile is 64 lines of 64 elements: a token's part of one head. As an operand its lines are rows (the inner dimension
// is the head's width) or columns (the inner dimension is the tokens).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "gpu/block_reduce.cuh"
#include "gpu/mma.cuh"
#include "gpu/numbers.cuh"
#include "gpu/pipeline_hopper.cuh"
#include "gpu/wgmma.cuh"

namespace moe::gpu::hopper {

inline constexpr int kWidth = 64;   // of a head
inline constexpr int kTokens = 64;  // of the tiles that a loop runs over, and of a warpgroup
inline constexpr uint32_t kTileBytes = kTokens * kWidth * 2;  // of kTokens lines
inline constexpr int kOwned = 2 * kTokens;                    // rows of a block: 64 of each warpgroup
inline constexpr float kLog2e = 1.4426950408889634F;

struct Shape {
  const int32_t* first_BT;
  int B, T, H, G;
  float scale;  // of the scores: 1 / sqrt(width)
};

inline Shape shape_of(const Tensor& first_BT, int64_t H, int64_t G) {
  return {pointer<int32_t>(first_BT),
          static_cast<int>(first_BT.dim(0)),
          static_cast<int>(first_BT.dim(1)),
          static_cast<int>(H),
          static_cast<int>(G),
          1 / std::sqrt(static_cast<float>(kWidth))};
}

// Two consecutive elements of each 8 columns, for 2 rows: what a thread holds of a product with 64 columns.
using Fragment = float[32];

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

// out[m][d] += sum over 64 tokens of a[m][token] b[token][d].
__device__ __forceinline__ void add_tokens(Fragment& out, const Packed& a, const unsigned char* b) {
  const uint64_t columns = columns_descriptor(b, 0, kTileBytes);
#pragma unroll
  for (int k16 = 0; k16 < kTokens / 16; ++k16)
    wgmma_registers<1>(out, a.pieces[k16], advanced(columns, static_cast<uint32_t>(k16) * 2 * kLineGroup));
}

// out[m][n] = sum over the head's width of a[m] b[n].
__device__ __forceinline__ void multiply_rows(Fragment& out, const Packed& a, const unsigned char* b) {
  const uint64_t rows = rows_descriptor(b, 0);
  wgmma_registers_first<0>(out, a.pieces[0], rows);
#pragma unroll
  for (int k16 = 1; k16 < kWidth / 16; ++k16)
    wgmma_registers<0>(out, a.pieces[k16], advanced(rows, static_cast<uint32_t>(k16) * 32));
}

// The same with a in shared memory, as b.
__device__ __forceinline__ void multiply_rows(Fragment& out, const unsigned char* a, const unsigned char* b) {
  const uint64_t a_rows = rows_descriptor(a, 0), b_rows = rows_descriptor(b, 0);
  wgmma_first<0, 0>(out, a_rows, b_rows);
#pragma unroll
  for (uint32_t k16 = 1; k16 < kWidth / 16; ++k16)
    wgmma<0, 0>(out, advanced(a_rows, k16 * 32), advanced(b_rows, k16 * 32), true);
}

// The smallest document start among tokens [begin, end) of a row, padding left out; a large number when all are padding.
// All lanes of a warp call it.
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

// A tile of keys and their values.
struct alignas(1024) KeyStage {
  unsigned char k[kTileBytes], v[kTileBytes];
};

// Work is cut into units, which share what they read in a loop, and each unit into tiles. Blocks take pieces by index: first
// all tiles of as many units as fit the second-level cache together, those with most work first, then the next units. (In the order
// "one tile of every unit, then the next" each tile brings everything from memory again.)
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

// The queries that a block takes, 64 for each of its warpgroups: as far as possible the same ones of heads that share keys, so that
// the warpgroups see the same keys.
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
template <int groups>
__device__ __forceinline__ QueryWork<groups> query_work(const Shape& shape, int index) {
  const int heads = heads_of_block<groups>(shape), queries = groups * kTokens / heads;
  const int units = shape.H / heads, tiles = (shape.T + queries - 1) / queries;
  const Place at = place(index, shape.B * units, tiles, units_at_once(shape.T * 2 * kWidth * 2));
  return {at.unit / units, at.unit % units * heads, (tiles - 1 - at.tile) * queries, heads, queries};
}

// Row i (0, 1) of this thread's fragments within its warpgroup's 64, and the first of its columns within 8.
__device__ __forceinline__ int fragment_row(int i) {
  const int thread = static_cast<int>(threadIdx.x) % kGroup;
  return thread / 32 * 16 + thread % 32 / 4 + 8 * i;
}
__device__ __forceinline__ int fragment_column() {
  return static_cast<int>(threadIdx.x) % 4 * 2;
}

// Rows fragment_row(0) and fragment_row(1) of 64, from global memory, as an A operand whose inner dimension is the
// head's width: for what a loop keeps, so that only one of its operands is read from shared memory.
__device__ __forceinline__ void load_rows(Packed& a, const bf16* row0, const bf16* row1) {
#pragma unroll
  for (int piece = 0; piece < 4; ++piece)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int column = 16 * piece + 8 * half + fragment_column();
      a.pieces[piece][2 * half] = *reinterpret_cast<const uint32_t*>(row0 + column);
      a.pieces[piece][2 * half + 1] = *reinterpret_cast<const uint32_t*>(row1 + column);
    }
}

// Where column `column` (even) of a tile's line lies, in bytes, as the copy engine's swizzle leaves it.
__device__ __forceinline__ int tile_offset(int line, int column) {
  return line * 128 + (column * 2 ^ line % 8 * 16);
}
// The same from a tile in shared memory.
__device__ __forceinline__ void load_tile_rows(Packed& a, const unsigned char* tile) {
#pragma unroll
  for (int piece = 0; piece < 4; ++piece)
#pragma unroll
    for (int x = 0; x < 4; ++x) {
      const int column = 16 * piece + 8 * (x / 2) + fragment_column();
      a.pieces[piece][x] = *reinterpret_cast<const uint32_t*>(tile + tile_offset(fragment_row(x % 2), column));
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

// Row i's part of a fragment times factor, rounded: this lane's 8 elements from column piece_column(half) on. All lanes
// of the warp call it.
__device__ __forceinline__ int piece_column(int half) {
  return 32 * half + static_cast<int>(threadIdx.x) % 4 * 8;
}
__device__ __forceinline__ Vec<bf16, 8> row_piece(const Fragment& x, int i, int half, float factor) {
  uint32_t words[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const int at = 4 * (4 * half + j) + 2 * i;
    words[j] = pack<bf16>(x[at] * factor, x[at + 1] * factor);
  }
  transpose(words);
  Vec<bf16, 8> piece;
  memcpy(&piece, words, sizeof(piece));
  return piece;
}

// Rounds and stores the rows of a fragment, times factor: where row(i) is not null.
template <class Row>
__device__ __forceinline__ void store_rows(const Fragment& x, float factor, Row row) {
#pragma unroll
  for (int i = 0; i < 2; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const auto piece = row_piece(x, i, half, factor);
      if (bf16* const to = row(i)) store(to + piece_column(half), piece);
    }
}

}  // namespace moe::gpu::hopper
