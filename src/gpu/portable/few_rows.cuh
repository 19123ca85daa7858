// SPDX-License-Identifier: MIT
// Products of few rows x with weight matrices, y = x w^T, in 16 bits with sums in f32: what generation does
// for the next token. Time is that of reading w, so each lane asks for 16 bytes several times before it
// multiplies. Those 8 elements of a row are columns of two products of the matrix units in an order of their
// own, the same for x and w. Rows of x are the 16 rows of the units, rows of w their 8 columns. The sum of a
// row depends on its length alone, not on the rows beside it.
#pragma once

#include <cstdint>

#include "gpu/mma.cuh"
#include "gpu/numbers.cuh"
#include "tensor/tensor.h"

namespace moe::gpu {

inline constexpr int64_t kFewRows = 64;  // of x at most
inline constexpr int kStep = 32;         // columns that a warp multiplies at once
inline constexpr int kRowTile = 16;      // rows of x
inline constexpr int kColumnTile = 8;    // rows of w

// 8 elements of 16 bits of one row.
struct Piece {
  uint32_t r[4] = {};
};

template <class T>
__device__ __forceinline__ Piece load_piece(const T* p) {
  const auto x = load<4>(reinterpret_cast<const uint32_t*>(p));
  return {x.v[0], x.v[1], x.v[2], x.v[3]};
}

// This lane's place in the units: row of x and of w, and its 8 columns of a step.
struct LaneOfProduct {
  int row, column;
  __device__ LaneOfProduct()
      : row(static_cast<int>(threadIdx.x) % 32 / 4), column(static_cast<int>(threadIdx.x) % 4 * 8) {}
};

// c += x w^T over a step. low, high: of rows `row` and `row` + 8 of x. c: rows `row`, then `row` + 8, at
// columns 2t and 2t + 1 with t = lane % 4.
template <class T>
__device__ __forceinline__ void multiply_step(float (&c)[4], const Piece& low, const Piece& high,
                                              const Piece& w) {
  const uint32_t first[4] = {low.r[0], high.r[0], low.r[1], high.r[1]};
  const uint32_t second[4] = {low.r[2], high.r[2], low.r[3], high.r[3]};
  mma_16x8x16<T>(c, first, w.r);
  mma_16x8x16<T>(c, second, w.r + 2);
}

// body(r, column, value) for the lane's four elements of c.
template <class Body>
__device__ __forceinline__ void for_each_element(const float (&c)[4], Body body) {
  const int row = static_cast<int>(threadIdx.x) % 32 / 4, column = 2 * (static_cast<int>(threadIdx.x) % 4);
  body(row, column, c[0]);
  body(row, column + 1, c[1]);
  body(row + 8, column, c[2]);
  body(row + 8, column + 1, c[3]);
}

// Whether these kernels take rows of `x` [rows, inner] and weights of `inner` columns.
inline bool few_rows_take(const Tensor& x, int64_t inner) {
  return x.dtype() != DType::f32 && x.dim(0) > 0 && x.dim(0) <= kFewRows && inner % 8 == 0 && inner > 0;
}

// 16 bytes at once: so are the addresses of all of these.
template <class... Tensors>
bool aligned_to_16(const Tensors&... tensors) {
  return ((tensors.empty() || reinterpret_cast<uintptr_t>(tensors.data()) % 16 == 0) && ...);
}

}  // namespace moe::gpu
