// SPDX-License-Identifier: MIT
// A matrix product on the plain units, in f32 and a fixed order whatever the types in memory: c[m,n] = sum_k
// a[m,k] b[n,k]. For the router, whose logits must not be rounded; everything large goes through gemm.h or
// grouped_matmul. A block makes a tile of 128 x 64, each thread 8 x 8 of it, and loads the next step while it
// multiplies.
#pragma once

#include <cstdint>

#include "gpu/launch.h"
#include "gpu/numbers.cuh"

namespace moe::gpu {

// A matrix [rows, depth] in memory as it is, or transposed: [depth, rows].
template <class T, bool depth_is_dense>
struct Operand {
  static constexpr bool dense = depth_is_dense;
  const T* p;
  int64_t rows, stride;  // of the dimension that is not dense
};

namespace f32_product {

inline constexpr int kThreads = 128, kM = 128, kN = 64, kDepth = 16, kPad = 4;

// One step of an operand on its way through a thread's registers to tile[k][r]. Neighbouring threads take
// neighbouring elements in memory; a thread's own are `row_step` rows or `depth_step` apart.
template <class A, int tile_rows>
struct Fetch {
  static constexpr int count = tile_rows * kDepth / kThreads;
  static constexpr int row_step = A::dense ? kThreads / kDepth : 0,
                       depth_step = A::dense ? 0 : kThreads / tile_rows;
  float v[count];

  __device__ static int row() {
    return static_cast<int>(threadIdx.x) % (A::dense ? kThreads : tile_rows) / (A::dense ? kDepth : 1);
  }
  __device__ static int depth() {
    return A::dense ? static_cast<int>(threadIdx.x) % kDepth : static_cast<int>(threadIdx.x) / tile_rows;
  }

  __device__ void load(const A& from, int64_t first_row, int64_t k_begin, int64_t k_end) {
    const int64_t r = first_row + row(), k = k_begin + depth();
    const auto* const p = from.p + (A::dense ? r * from.stride + k : k * from.stride + r);
    const int64_t step = (row_step + depth_step) * from.stride;
#pragma unroll
    for (int i = 0; i < count; ++i)
      v[i] = r + i * row_step < from.rows && k + i * depth_step < k_end ? to_float(p[i * step]) : 0;
  }
  __device__ void store(float (*tile)[tile_rows + kPad]) const {
#pragma unroll
    for (int i = 0; i < count; ++i) tile[depth() + i * depth_step][row() + i * row_step] = v[i];
  }
};

__device__ __forceinline__ void multiply_step(float (&sum)[8][8], const float (*a)[kM + kPad],
                                              const float (*b)[kN + kPad], int m, int n) {
#pragma unroll 4
  for (int k = 0; k < kDepth; ++k) {
    const Vec<float, 4> a_low = load<4>(a[k] + m), a_high = load<4>(a[k] + kM / 2 + m);
    const Vec<float, 4> b_low = load<4>(b[k] + n), b_high = load<4>(b[k] + kN / 2 + n);
#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
      for (int j = 0; j < 8; ++j)
        sum[i][j] += (i < 4 ? a_low.v[i % 4] : a_high.v[i % 4]) * (j < 4 ? b_low.v[j % 4] : b_high.v[j % 4]);
  }
}

// Block (x, y, z): tile x of a's rows, tile y of b's, part z of the depth. Calls put(z, m, n, v) for each 4
// elements (m, n .. n + 3); m is inside, n + 3 may not be.
template <class A, class B, class Put>
__global__ void __launch_bounds__(kThreads, 3)
    kernel(A a, B b, int64_t depth, int64_t depth_of_part, Put put) {
  alignas(16) __shared__ float tile_a[kDepth][kM + kPad];
  alignas(16) __shared__ float tile_b[kDepth][kN + kPad];
  const int64_t row_a = int64_t{blockIdx.x} * kM, row_b = int64_t{blockIdx.y} * kN;
  const int64_t begin = blockIdx.z * depth_of_part, end = min(depth, begin + depth_of_part);
  const int m = static_cast<int>(threadIdx.x) / 8 * 4, n = static_cast<int>(threadIdx.x) % 8 * 4;
  float sum[8][8] = {};
  Fetch<A, kM> next_a;
  Fetch<B, kN> next_b;
  next_a.load(a, row_a, begin, end);
  next_b.load(b, row_b, begin, end);
  for (int64_t k = begin; k < end; k += kDepth) {
    next_a.store(tile_a);
    next_b.store(tile_b);
    __syncthreads();
    next_a.load(a, row_a, k + kDepth, end);
    next_b.load(b, row_b, k + kDepth, end);
    multiply_step(sum, tile_a, tile_b, m, n);
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int64_t at = row_a + m + (i < 4 ? i : kM / 2 + i - 4);
    if (at >= a.rows) continue;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float(&v)[8] = sum[i];
      const int64_t column = row_b + n + half * (kN / 2);
      if (column < b.rows)
        put(blockIdx.z, at, column,
            Vec<float, 4>{v[half * 4], v[half * 4 + 1], v[half * 4 + 2], v[half * 4 + 3]});
    }
  }
}

// parts: of the depth, each with its own sums.
template <class A, class B, class Put>
void multiply(cudaStream_t stream, const A& a, const B& b, int64_t depth, int64_t parts, const Put& put) {
  const dim3 grid(blocks(ceil_div(a.rows, kM)), blocks(ceil_div(b.rows, kN)), blocks(parts));
  launch(stream, kernel<A, B, Put>, {grid, kThreads}, a, b, depth,
         ceil_div(ceil_div(depth, parts), kDepth) * kDepth, put);
}

}  // namespace f32_product
}  // namespace moe::gpu
