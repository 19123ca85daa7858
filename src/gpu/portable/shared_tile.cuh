// SPDX-License-Identifier: MIT
// Tiles of matrices in shared memory as the matrix units want them: rows of `width` elements in pieces of 16
// bytes, the pieces permuted within a row so that eight rows of one column of pieces lie in different banks
// (no conflicts for ldmatrix); copies into them from global memory; fragments out of them.
#pragma once

#include <cstdint>

#include "gpu/mma.cuh"
#include "gpu/numbers.cuh"

namespace moe::gpu {

inline constexpr int kPiece = 8;  // elements of 16 bits in 16 bytes

// The offset of a piece of a row, in elements.
template <int width>
__device__ __forceinline__ int piece_offset(int row, int piece) {
  constexpr int pieces = width / kPiece;
  static_assert(pieces == 4 || pieces % 8 == 0, "rows of 64 bytes or of whole 128 bytes");
  const int permuted = pieces == 4 ? piece ^ (row / 2 % 4) : piece ^ (row % 8);
  return row * width + permuted * kPiece;
}

// Starts the copy of rows x width elements from `matrix` (the tile's corner; `stride` from row to row) by
// `threads` threads; zeros past row_limit and column_limit, which count from the corner. wide: the corner and
// the stride are multiples of 16 bytes, and so is column_limit where the tile crosses it; else elements move
// one by one, at once.
template <int rows, int width, int threads, bool wide, class T>
__device__ __forceinline__ void copy_tile(T* tile, const T* matrix, int64_t stride, int row_limit,
                                          int column_limit) {
  constexpr int pieces = width / kPiece, step = threads / pieces;  // rows copied at once
  static_assert(threads % pieces == 0 && rows % step == 0 && step % 8 == 0);
  const int row = static_cast<int>(threadIdx.x) / pieces, piece = static_cast<int>(threadIdx.x) % pieces;
  const int left = column_limit - piece * kPiece, within = left < 0 ? 0 : left < kPiece ? left : kPiece;
  T* to = tile + piece_offset<width>(row, piece);  // the same permutation 8 rows on
  const T* from = matrix + row * stride + piece * kPiece;
#pragma unroll
  for (int i = 0; i < rows / step; ++i, to += step * width, from += step * stride) {
    const int count = row + i * step < row_limit ? within : 0;
    if constexpr (wide) {
      cp_async_16(to, count > 0 ? from : matrix, count * static_cast<int>(sizeof(T)));
    } else {
      Vec<T, kPiece> values;
#pragma unroll
      for (int j = 0; j < kPiece; ++j) values.v[j] = j < count ? from[j] : from_float<T>(0);
      store(to, values);
    }
  }
}

// Which index of an operand runs along the rows of its tile: the one that the product sums over, or the
// other.
enum class Along { inner, outer };

// Operand a of mma_16x8x16: rows m..m+15 of the product, inner indices k..k+15.
template <int width, Along along, class T>
__device__ __forceinline__ void load_a(uint32_t (&a)[4], const T* tile, int m, int k) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if constexpr (along == Along::inner)
    ldmatrix_x4<false>(a, tile + piece_offset<width>(m + lane % 16, k / kPiece + lane / 16));
  else
    ldmatrix_x4<true>(a, tile + piece_offset<width>(k + lane % 8 + lane / 16 * 8, m / kPiece + lane / 8 % 2));
}

// Operand b twice: b[0], b[1] for columns n..n+7 of the product, b[2], b[3] for n+8..n+15; inner indices
// k..k+15.
template <int width, Along along, class T>
__device__ __forceinline__ void load_b(uint32_t (&b)[4], const T* tile, int n, int k) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if constexpr (along == Along::inner)
    ldmatrix_x4<false>(b,
                       tile + piece_offset<width>(n + lane % 8 + lane / 16 * 8, k / kPiece + lane / 8 % 2));
  else
    ldmatrix_x4<true>(b, tile + piece_offset<width>(k + lane % 16, n / kPiece + lane / 16));
}

}  // namespace moe::gpu
