// SPDX-License-Identifier: MIT
// What the attention kernels on matrix units share. Each works on rows x columns of scores at a time (forward
// and dq: queries x keys; dk and dv: keys x queries), four warps one below the other; scores stay in
// registers, where the layout of mma's result is that of the next product's first operand (Dao 2023). What is
// here is of 16-bit numbers; attention_f32.cuh has the same of f32.
#pragma once

#include <climits>
#include <cstddef>
#include <cstdint>

#include "gpu/attention_statistics.cuh"
#include "gpu/block_reduce.cuh"
#include "gpu/portable/attention_f32.cuh"
#include "gpu/portable/shared_tile.cuh"

namespace moe::gpu {

inline constexpr int kAttentionWarps = 4, kAttentionThreads = 32 * kAttentionWarps;

// sum = x y^T over the head: 16 * row_tiles rows of the tile x from `row`, `columns` rows of the tile y from
// `first`.
// x is read anew each time: there are no registers to keep it in.
template <int row_tiles, int columns, int dim, NarrowNumber T>
__device__ __forceinline__ void multiply_rows(float (&sum)[row_tiles][columns / 8][4], const T* x, int row,
                                              const T* y, int first) {
  clear(sum);
#pragma unroll 2
  for (int k = 0; k < dim; k += 16) {
    uint32_t a[row_tiles][4];
#pragma unroll
    for (int i = 0; i < row_tiles; ++i) load_a<dim, Along::inner>(a[i], x, row + 16 * i, k);
#pragma unroll
    for (int j = 0; j < columns / 16; ++j) {
      uint32_t b[4];
      load_b<dim, Along::inner>(b, y, first + 16 * j, k);
#pragma unroll
      for (int i = 0; i < row_tiles; ++i) {
        mma_16x8x16<T>(sum[i][2 * j], a[i], b);
        mma_16x8x16<T>(sum[i][2 * j + 1], a[i], b + 2);
      }
    }
  }
}

// sum += weight y, the weights rounded to T, for `columns` rows of the tile y from `first`.
template <int row_tiles, int columns, int dim, NarrowNumber T>
__device__ __forceinline__ void add_weighted_rows(float (&sum)[row_tiles][dim / 8][4],
                                                  const float (&weight)[row_tiles][columns / 8][4],
                                                  const T* y, int first) {
#pragma unroll
  for (int k = 0; k < columns / 16; ++k) {
    uint32_t a[row_tiles][4];
#pragma unroll
    for (int i = 0; i < row_tiles; ++i)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const float(&part)[4] = weight[i][2 * k + r / 2];
        a[i][r] = pack<T>(part[r % 2 * 2], part[r % 2 * 2 + 1]);
      }
#pragma unroll
    for (int j = 0; j < dim / 16; ++j) {
      uint32_t b[4];
      load_b<dim, Along::outer>(b, y, 16 * j, first + 16 * k);
#pragma unroll
      for (int i = 0; i < row_tiles; ++i) {
        mma_16x8x16<T>(sum[i][2 * j], a[i], b);
        mma_16x8x16<T>(sum[i][2 * j + 1], a[i], b + 2);
      }
    }
  }
}

// Scores of keys that a query does not see become -inf: those where sees(i, j, e) is false for element e of
// block (i, j).
template <int row_tiles, int columns, class Sees>
__device__ __forceinline__ void mask_scores(float (&score)[row_tiles][columns / 8][4], const Sees& sees) {
#pragma unroll
  for (int i = 0; i < row_tiles; ++i)
#pragma unroll
    for (int j = 0; j < columns / 8; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        if (!sees(i, j, e)) score[i][j][e] = -INFINITY;
}

// A warp's rows to global memory, through its own rows of a tile in shared memory that is no longer needed.
// out: row 0 of the tile; rows_left: rows from there that exist.
template <int row_tiles, int dim, NarrowNumber T>
__device__ __forceinline__ void write_rows(T* out, int64_t stride, int rows_left, T* tile, int row,
                                           const float (&sum)[row_tiles][dim / 8][4]) {
  constexpr int pieces = dim / kPiece;
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  __syncwarp();
#pragma unroll
  for (int i = 0; i < row_tiles; ++i)
#pragma unroll
    for (int j = 0; j < dim / 8; ++j)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32_t pair = pack<T>(sum[i][j][2 * half], sum[i][j][2 * half + 1]);
        T* const to = tile + piece_offset<dim>(row + 16 * i + g + 8 * half, j) + 2 * t;
        store(reinterpret_cast<uint32_t*>(to), Vec<uint32_t, 1>{{pair}});
      }
  __syncwarp();
#pragma unroll
  for (int at = lane; at < row_tiles * 16 * pieces; at += 32) {
    const int r = row + at / pieces, piece = at % pieces;
    if (r < rows_left)
      store(out + r * stride + piece * kPiece, load<kPiece>(tile + piece_offset<dim>(r, piece)));
  }
}

// The keys that some of the queries [query, query + count) of a sequence see, [begin, end), and the first key
// that all of them see as far as it is not after them; kSeesNothing when one is padding. All lanes of a warp
// ask alike.
struct KeyRange {
  int begin, end, all_from;
};
__device__ __forceinline__ KeyRange visible_keys(const int32_t* first_T, int query, int count, int length) {
  int begin = INT_MAX, end = 0, all_from = 0;
  for (int i = static_cast<int>(threadIdx.x) % 32; i < count; i += 32) {
    const int t = query + i, first = t < length ? first_T[t] : -1;
    if (first < 0 || first == kSeesNothing) {
      all_from = kSeesNothing;
      continue;
    }
    begin = min(begin, first);
    end = t + 1;
    all_from = max(all_from, first);
  }
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    begin = min(begin, __shfl_xor_sync(kAllLanes, begin, lanes));
    end = max(end, __shfl_xor_sync(kAllLanes, end, lanes));
    all_from = max(all_from, __shfl_xor_sync(kAllLanes, all_from, lanes));
  }
  return {begin, end, all_from};
}

// Calls run.operator()<Number, dim>() with the numbers and the width of the kernel on matrix units that there
// is for T: 16-bit numbers as they are, f32 rounded or as pairs. False, and no call: there is none of this
// width, or its tile does not fit into a block's shared memory.
template <class T, template <class, int> class Tile, class Run>
bool with_matrix_units(int dim, bool tf32, size_t shared_of_block, const Run& run) {
  const auto of_width = [&]<class Number, int width>() {
    if (size_t{Tile<Number, width>::kSharedBytes} > shared_of_block) return false;
    run.template operator()<Number, width>();
    return true;
  };
  const auto of_number = [&]<class Number>() {
    if (dim == 64) return of_width.template operator()<Number, 64>();
    if (dim == 128) return of_width.template operator()<Number, 128>();
    return false;
  };
  if constexpr (sizeof(T) == 2)
    return of_number.template operator()<T>();
  else
    return tf32 ? of_number.template operator()<Tf32>() : of_number.template operator()<Tf32Pair>();
}

}  // namespace moe::gpu
