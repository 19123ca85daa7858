// SPDX-License-Identifier: MIT
// argmax: a block a row.
#include <cmath>

#include "gpu/block_reduce.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"

namespace moe::gpu {
namespace {

constexpr int kThreads = 1024;

struct Best {
  float value = -INFINITY;
  int index = INT32_MAX;

  // The lower index of equals, whatever the order.
  __device__ void take(float other, int at) {
    if (other > value || (other == value && at < index)) value = other, index = at;
  }
  __device__ void take_warp() {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      const float other = __shfl_xor_sync(kAllLanes, value, lanes);
      const int at = __shfl_xor_sync(kAllLanes, index, lanes);
      take(other, at);
    }
  }
};

template <class T, int width>
__global__ void __launch_bounds__(kThreads)
    argmax_kernel(int32_t* index_N, const T* x_NV, int64_t stride, int columns, int except) {
  __shared__ Best of_warp[kThreads / 32];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const T* const x = x_NV + blockIdx.x * stride;
  Best best;
#pragma unroll 4
  for (int c = static_cast<int>(threadIdx.x) * width; c < columns; c += kThreads * width) {
    const auto v = load<width>(x + c);  // a row's padding may be read, and is left out
#pragma unroll
    for (int j = 0; j < width; ++j)
      if (c + j < columns && c + j != except) best.take(to_float(v.v[j]), c + j);
  }
  best.take_warp();
  if (lane == 0) of_warp[warp] = best;
  __syncthreads();
  if (warp != 0) return;
  best = of_warp[lane];
  best.take_warp();
  // Where nothing compares, the first.
  if (lane == 0) index_N[blockIdx.x] = best.index == INT32_MAX ? (except == 0 ? 1 : 0) : best.index;
}

}  // namespace

void GpuOps::argmax(Argmax op) {
  op.check();
  const int64_t n = op.x_NV.dim(0), stride = op.x_NV.dim(1);
  if (n == 0) return;
  with_activation(op.x_NV.dtype(), [&]<class T>() {
    constexpr int wide = 16 / static_cast<int>(sizeof(T));
    const bool vectors = vector_width<T>(stride, op.x_NV.data()) > 1;
    launch(stream_, vectors ? argmax_kernel<T, wide> : argmax_kernel<T, 1>, {blocks(n), kThreads},
           pointer<int32_t>(op.index_N), pointer<T>(op.x_NV), stride, static_cast<int>(op.columns),
           static_cast<int>(op.except));
  });
}

}  // namespace moe::gpu
