// SPDX-License-Identifier: MIT
// The second half of a sum over tokens: blocks leave rows of partial sums in the workspace, and these are
// added to the gradient column by column. A thousand rows one after another would wait for memory a thousand
// times, so the warps of a block take every eighth row each, or every 32nd of many rows; their sums are added
// in order.
#pragma once

#include <cstdint>

#include "gpu/launch.h"

namespace moe::gpu {

inline constexpr int kSumWarps = 8, kMostSumWarps = 32;

// parts[0][c] + parts[1][c] + ... for column c = `first` + lane: what warp 0 gets. Blocks of `warps` warps;
// rows are `stride` elements apart. Begins with a barrier.
template <int warps = kSumWarps>
__device__ __forceinline__ float sum_columns(const float* parts, int64_t rows, int64_t columns,
                                             int64_t stride, int64_t first) {
  __shared__ float sums[warps][32];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  float total = 0;
  if (first + lane < columns) {
#pragma unroll 8
    for (int64_t r = warp; r < rows; r += warps) total += parts[r * stride + first + lane];
  }
  __syncthreads();
  sums[warp][lane] = total;
  __syncthreads();
  for (int w = 1; w < warps && warp == 0; ++w) total += sums[w][lane];
  return total;
}

// sum[c] += parts[0][c] + parts[1][c] + ...
template <int warps>
static __global__ void add_columns_kernel(float* sum, const float* parts, int64_t rows, int64_t columns,
                                          int64_t stride) {
  const int64_t first = int64_t{blockIdx.x} * 32;
  const float total = sum_columns<warps>(parts, rows, columns, stride, first);
  if (threadIdx.x < 32 && first + threadIdx.x < columns) sum[first + threadIdx.x] += total;
}

inline void add_columns(cudaStream_t stream, float* sum, const float* parts, int64_t rows, int64_t columns,
                        int64_t stride) {
  const bool many = rows >= 8 * kMostSumWarps;
  launch(stream, many ? add_columns_kernel<kMostSumWarps> : add_columns_kernel<kSumWarps>,
         {blocks(ceil_div(columns, 32)), 32 * static_cast<unsigned>(many ? kMostSumWarps : kSumWarps)}, sum,
         parts, rows, columns, stride);
}
inline void add_columns(cudaStream_t stream, float* sum, const float* parts_RC, int64_t rows,
                        int64_t columns) {
  add_columns(stream, sum, parts_RC, rows, columns, columns);
}

}  // namespace moe::gpu
