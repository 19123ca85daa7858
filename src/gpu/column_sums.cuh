// SPDX-License-Identifier: MIT
// The second half of a sum over tokens: blocks leave rows of partial sums in the workspace, and these are added to the
// gradient column by column, in the order of the rows.
#pragma once

#include <cstdint>

#include "gpu/launch.h"

namespace moe::gpu {

// sum[c] += parts[0][c] + parts[1][c] + ...
static __global__ void add_columns_kernel(float* sum, const float* parts_RC, int64_t rows, int64_t columns) {
  const int64_t c = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= columns) return;
  float total = 0;
  for (int64_t r = 0; r < rows; ++r) total += parts_RC[r * columns + c];
  sum[c] += total;
}

inline void add_columns(cudaStream_t stream, float* sum, const float* parts_RC, int64_t rows,
                        int64_t columns) {
  constexpr unsigned threads = 128;
  launch(stream, add_columns_kernel, {blocks(ceil_div(columns, threads)), threads}, sum, parts_RC, rows,
         columns);
}

}  // namespace moe::gpu
