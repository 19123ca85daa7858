// SPDX-License-Identifier: MIT
// The bias of a product. A thread has some columns side by side, and goes down the rows in steps of the
// grid's height. Backward leaves a row of sums for each first row; they are added in order (column_sums.cuh).
#include <algorithm>

#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/portable/column_sums.cuh"

namespace moe::gpu {
namespace {

constexpr int kThreads = 128;
constexpr int kBlocksPerSm = 8;

template <class T, int width>
__global__ void forward_kernel(T* y_NP, const float* bias_P, int64_t n, int64_t columns) {
  const int64_t c = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * width;
  if (c >= columns) return;
  Vec<T, width> v;
#pragma unroll
  for (int j = 0; j < width; ++j) v.v[j] = from_float<T>(bias_P[c + j]);
  for (int64_t row = blockIdx.y; row < n; row += gridDim.y) store(y_NP + row * columns + c, v);
}

// parts: [gridDim.y, columns].
template <class T, int width>
__global__ void backward_kernel(float* parts, const T* dy_NP, int64_t n, int64_t columns) {
  const int64_t c = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * width;
  if (c >= columns) return;
  float sum[width] = {};
#pragma unroll 4
  for (int64_t row = blockIdx.y; row < n; row += gridDim.y) {
    const auto v = load<width>(dy_NP + row * columns + c);
#pragma unroll
    for (int j = 0; j < width; ++j) sum[j] += to_float(v.v[j]);
  }
#pragma unroll
  for (int j = 0; j < width; ++j) parts[int64_t{blockIdx.y} * columns + c + j] = sum[j];
}

// So many blocks side by side reach over the columns, and so many below one another fill the device.
dim3 grid_of(int64_t n, int64_t columns, int width, int num_sms) {
  const int64_t across = ceil_div(columns, int64_t{kThreads} * width);
  const int64_t down = std::min(n, std::max<int64_t>(1, int64_t{kBlocksPerSm} * num_sms / across));
  return {blocks(across), blocks(down)};
}

}  // namespace

void GpuOps::bias_forward(BiasForward op) {
  op.check();
  const int64_t n = op.y_NP.dim(0), columns = op.y_NP.dim(1);
  if (n == 0) return;
  with_activation(op.y_NP.dtype(), [&]<class T>() {
    constexpr int wide = 16 / sizeof(T);
    const int width = vector_width<T>(columns, op.y_NP.data());
    launch(stream_, width == 1 ? forward_kernel<T, 1> : forward_kernel<T, wide>,
           {grid_of(n, columns, width, num_sms_), kThreads}, pointer<T>(op.y_NP), pointer<float>(op.bias_P),
           n, columns);
  });
}

void GpuOps::bias_backward(BiasBackward op) {
  op.check();
  const int64_t n = op.dy_NP.dim(0), columns = op.dy_NP.dim(1);
  if (n == 0) return;
  with_activation(op.dy_NP.dtype(), [&]<class T>() {
    constexpr int wide = 16 / sizeof(T);
    const int width = vector_width<T>(columns, op.dy_NP.data());
    const dim3 grid = grid_of(n, columns, width, num_sms_);
    float* const parts = workspace_.carve().take<float>(grid.y * columns);
    launch(stream_, width == 1 ? backward_kernel<T, 1> : backward_kernel<T, wide>, {grid, kThreads}, parts,
           pointer<T>(op.dy_NP), n, columns);
    add_columns(stream_, pointer<float>(op.dbias_P), parts, grid.y, columns);
  });
}

}  // namespace moe::gpu
