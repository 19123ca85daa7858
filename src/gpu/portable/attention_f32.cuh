// SPDX-License-Identifier: MIT
// f32 numbers in the attention kernels on matrix units: rounded to TF32, or as the sum of two TF32 numbers,
// which leaves an error of 2^-22 of each (Ootomo and Yokota 2022): three products in place of one. The
// kernels are those of 16-bit numbers; here are the tiles in shared memory and the products of such numbers.
#pragma once

#include <cstdint>

#include "gpu/mma.cuh"
#include "gpu/numbers.cuh"

namespace moe::gpu {

// As kernels take them: an array of floats, and how they are multiplied.
struct Tf32 {
  static constexpr bool kPair = false;
  float value;
};
struct Tf32Pair {
  static constexpr bool kPair = true;
  float value;
};
template <class T>
concept WideNumber = sizeof(T) == 4;
template <class T>
concept NarrowNumber = sizeof(T) == 2;

// From row to row of a tile, in elements. f32 rows are padded, so that the 32 numbers of a fragment lie in
// different banks, whether rows run along its inner index or across.
template <class T, int dim>
inline constexpr int kTileStride = WideNumber<T> ? dim + 4 : dim;

// n numbers of an operand of mma_16x8x8_tf32.
template <class T, int n>
struct Fragment {
  uint32_t high[n], low[T::kPair ? n : 1];

  __device__ __forceinline__ void set(int i, float x) {
    high[i] = to_tf32(x);
    if constexpr (T::kPair) low[i] = to_tf32(x - __uint_as_float(high[i]));
  }
};

template <class T>
__device__ __forceinline__ void multiply(float (&sum)[4], const Fragment<T, 4>& a, const Fragment<T, 2>& b) {
  if constexpr (T::kPair) {  // the small ones first
    mma_16x8x8_tf32(sum, a.low, b.high);
    mma_16x8x8_tf32(sum, a.high, b.low);
  }
  mma_16x8x8_tf32(sum, a.high, b.high);
}

// The sums of a warp: row tiles, blocks of 8 columns, a lane's four of each.
template <int row_tiles, int blocks>
__device__ __forceinline__ void clear(float (&sum)[row_tiles][blocks][4]) {
#pragma unroll
  for (int i = 0; i < row_tiles; ++i)
#pragma unroll
    for (int j = 0; j < blocks; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) sum[i][j][e] = 0;
}

// As copy_tile in shared_tile.cuh; the corner and the stride are multiples of 16 bytes.
template <int rows, int width, int threads, bool wide, WideNumber T>
__device__ __forceinline__ void copy_tile(T* tile, const T* matrix, int64_t stride, int row_limit, int) {
  static_assert(wide);
  constexpr int pieces = width / 4, step = threads / pieces;  // rows copied at once
  static_assert(threads % pieces == 0 && rows % step == 0);
  const int row = static_cast<int>(threadIdx.x) / pieces, column = static_cast<int>(threadIdx.x) % pieces * 4;
#pragma unroll
  for (int i = row; i < rows; i += step) {
    const bool there = i < row_limit;
    cp_async_16(tile + i * kTileStride<T, width> + column, there ? matrix + i * stride + column : matrix,
                there ? 16 : 0);
  }
}

// As multiply_rows in attention_mma.cuh.
template <int row_tiles, int columns, int dim, WideNumber T>
__device__ __forceinline__ void multiply_rows(float (&sum)[row_tiles][columns / 8][4], const T* x, int row,
                                              const T* y, int first) {
  constexpr int stride = kTileStride<T, dim>;
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  clear(sum);
#pragma unroll 2
  for (int k = 0; k < dim; k += 8) {
    Fragment<T, 4> a[row_tiles];
#pragma unroll
    for (int i = 0; i < row_tiles; ++i)
#pragma unroll
      for (int r = 0; r < 4; ++r)
        a[i].set(r, x[(row + 16 * i + g + r % 2 * 8) * stride + k + t + r / 2 * 4].value);
#pragma unroll
    for (int j = 0; j < columns / 8; ++j) {
      Fragment<T, 2> b;
#pragma unroll
      for (int r = 0; r < 2; ++r) b.set(r, y[(first + 8 * j + g) * stride + k + t + 4 * r].value);
#pragma unroll
      for (int i = 0; i < row_tiles; ++i) multiply(sum[i][j], a[i], b);
    }
  }
}

// As add_weighted_rows there. A lane has the weights of columns 2 t and 2 t + 1, where a fragment has t and
// t + 4: the sum goes over the rows of y in that order.
template <int row_tiles, int columns, int dim, WideNumber T>
__device__ __forceinline__ void add_weighted_rows(float (&sum)[row_tiles][dim / 8][4],
                                                  const float (&weight)[row_tiles][columns / 8][4],
                                                  const T* y, int first) {
  constexpr int stride = kTileStride<T, dim>;
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int k = 0; k < columns / 8; ++k) {
    Fragment<T, 4> a[row_tiles];
#pragma unroll
    for (int i = 0; i < row_tiles; ++i)
#pragma unroll
      for (int r = 0; r < 4; ++r) a[i].set(r, weight[i][k][r % 2 * 2 + r / 2]);
#pragma unroll
    for (int j = 0; j < dim / 8; ++j) {
      Fragment<T, 2> b;
#pragma unroll
      for (int r = 0; r < 2; ++r) b.set(r, y[(first + 8 * k + 2 * t + r) * stride + 8 * j + g].value);
#pragma unroll
      for (int i = 0; i < row_tiles; ++i) multiply(sum[i][j], a[i], b);
    }
  }
}

// As write_rows there, without a way through shared memory: four lanes write 32 bytes.
template <int row_tiles, int dim, WideNumber T>
__device__ __forceinline__ void write_rows(T* out, int64_t stride, int rows_left, T*, int row,
                                           const float (&sum)[row_tiles][dim / 8][4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int i = 0; i < row_tiles; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = row + 16 * i + g + 8 * half;
      if (r >= rows_left) continue;
#pragma unroll
      for (int j = 0; j < dim / 8; ++j)
        store(reinterpret_cast<float*>(out + r * stride + 8 * j + 2 * t),
              Vec<float, 2>{{sum[i][j][2 * half], sum[i][j][2 * half + 1]}});
    }
}

}  // namespace moe::gpu
