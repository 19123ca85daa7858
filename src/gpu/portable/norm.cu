// SPDX-License-Identifier: MIT
// RMSNorm. Forward: a warp a row. Backward: a block takes rows in turn and sums its share of the weight's
// gradient, each column by one thread; the shares are added in order (column_sums.cuh).
#include <algorithm>

#include "gpu/block_reduce.cuh"
#include "gpu/dynamic_shared.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/portable/column_sums.cuh"

namespace moe::gpu {
namespace {

constexpr int kWarps = 4;  // rows of a forward block
constexpr int kThreads = 128;
constexpr int kBlocksPerSm = 8;

template <class T, int width>
__global__ void forward_kernel(T* y_ND, float* rstd_N, const T* x_ND, const float* w_D, int64_t n, int64_t d,
                               float eps) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (row >= n) return;
  const T* x = x_ND + row * d;
  float squares = 0;
  for (int64_t c = lane * width; c < d; c += 32 * width) {
    const auto v = load<width>(x + c);
#pragma unroll
    for (int j = 0; j < width; ++j) squares += to_float(v.v[j]) * to_float(v.v[j]);
  }
  const float rstd = 1.0F / sqrtf(warp_sum(squares) / static_cast<float>(d) + eps);
  if (lane == 0) rstd_N[row] = rstd;
  for (int64_t c = lane * width; c < d; c += 32 * width) {
    auto v = load<width>(x + c);
#pragma unroll
    for (int j = 0; j < width; ++j) v.v[j] = from_float<T>(w_D[c + j] * (to_float(v.v[j]) * rstd));
    store(y_ND + row * d + c, v);
  }
}

// The gradient of `width` elements of a row: adds this row's share to dw, returns dx.
template <class T, int width>
__device__ __forceinline__ Vec<T, width> differentiate(float* dw, const Vec<T, width>& dy,
                                                       const Vec<T, width>& x, const Vec<T, width>& residual,
                                                       const float* w, float rstd, float mean) {
  Vec<T, width> dx;
#pragma unroll
  for (int j = 0; j < width; ++j) {
    const float normed = to_float(x.v[j]) * rstd, g = to_float(dy.v[j]);
    dw[j] += g * normed;
    dx.v[j] = from_float<T>(to_float(residual.v[j]) + rstd * (g * w[j] - normed * mean));
  }
  return dx;
}

template <class T, int width>
__device__ __forceinline__ float inner(const Vec<T, width>& dy, const Vec<T, width>& x, const float* w) {
  float sum = 0;
#pragma unroll
  for (int j = 0; j < width; ++j) sum += to_float(dy.v[j]) * w[j] * to_float(x.v[j]);
  return sum;
}

// Rows of at most kThreads * width elements: a thread has one piece of each row, and that piece's w and dw in
// registers.
template <class T, int width>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    backward_kernel(T* dx_ND, float* dw_parts, const T* dy_ND, const T* residual_ND, const T* x_ND,
                    const float* w_D, const float* rstd_N, int64_t n, int64_t d) {
  const int64_t c = int64_t{threadIdx.x} * width;
  const bool has = c < d;
  float w[width] = {}, dw[width] = {};
  for (int j = 0; j < width && has; ++j) w[j] = w_D[c + j];
  for (int64_t row = blockIdx.x; row < n; row += gridDim.x) {
    const int64_t at = row * d + c;
    Vec<T, width> dy{}, x{}, residual{};
    if (has) {
      dy = load<width>(dy_ND + at);
      x = load<width>(x_ND + at);
      if (residual_ND != nullptr) residual = load<width>(residual_ND + at);
    }
    const float rstd = rstd_N[row], mean = rstd / static_cast<float>(d) * block_sum(inner(dy, x, w));
    const auto dx = differentiate(dw, dy, x, residual, w, rstd, mean);
    if (has) store(dx_ND + at, dx);
  }
  for (int j = 0; j < width && has; ++j) dw_parts[int64_t{blockIdx.x} * d + c + j] = dw[j];
}

// Longer rows: a thread has several pieces, read twice, and their dw in shared memory.
template <class T, int width>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    backward_long_kernel(T* dx_ND, float* dw_parts, const T* dy_ND, const T* residual_ND, const T* x_ND,
                         const float* w_D, const float* rstd_N, int64_t n, int64_t d) {
  float* const dw = dynamic_shared<float>();
  const int64_t first = int64_t{threadIdx.x} * width, step = int64_t{kThreads} * width;
  for (int64_t c = first; c < d; c += step)
    for (int j = 0; j < width; ++j) dw[c + j] = 0;
  for (int64_t row = blockIdx.x; row < n; row += gridDim.x) {
    const T *dy = dy_ND + row * d, *x = x_ND + row * d;
    float part = 0;
    for (int64_t c = first; c < d; c += step) part += inner(load<width>(dy + c), load<width>(x + c), w_D + c);
    const float rstd = rstd_N[row], mean = rstd / static_cast<float>(d) * block_sum(part);
    for (int64_t c = first; c < d; c += step) {
      Vec<T, width> residual{};
      if (residual_ND != nullptr) residual = load<width>(residual_ND + row * d + c);
      store(dx_ND + row * d + c,
            differentiate(dw + c, load<width>(dy + c), load<width>(x + c), residual, w_D + c, rstd, mean));
    }
  }
  for (int64_t c = first; c < d; c += step)
    for (int j = 0; j < width; ++j) dw_parts[int64_t{blockIdx.x} * d + c + j] = dw[c + j];
}

}  // namespace

void GpuOps::rms_norm_forward(RmsNormForward op) {
  op.check();
  const int64_t n = op.x_ND.dim(0), d = op.x_ND.dim(1);
  with_activation(op.x_ND.dtype(), [&]<class T>() {
    constexpr int wide = 16 / sizeof(T);
    const auto kernel = vector_width<T>(d, op.y_ND.data(), op.x_ND.data()) == 1 ? forward_kernel<T, 1>
                                                                                : forward_kernel<T, wide>;
    launch(stream_, kernel, {blocks(ceil_div(n, kWarps)), kWarps * 32}, pointer<T>(op.y_ND),
           pointer<float>(op.rstd_N), pointer<T>(op.x_ND), pointer<float>(op.w_D), n, d, op.eps);
  });
}

void GpuOps::rms_norm_backward(RmsNormBackward op) {
  op.check();
  const int64_t n = op.x_ND.dim(0), d = op.x_ND.dim(1);
  const int64_t rows = std::min<int64_t>(n, int64_t{kBlocksPerSm} * num_sms_);
  float* const parts = workspace_.carve().take<float>(rows * d);
  with_activation(op.x_ND.dtype(), [&]<class T>() {
    constexpr int wide = 16 / sizeof(T);
    const int width =
        vector_width<T>(d, op.dx_ND.data(), op.dy_ND.data(), op.residual_ND.data(), op.x_ND.data());
    const bool is_short = d <= int64_t{kThreads} * width;
    const auto kernel = width == 1 ? (is_short ? backward_kernel<T, 1> : backward_long_kernel<T, 1>)
                                   : (is_short ? backward_kernel<T, wide> : backward_long_kernel<T, wide>);
    launch(stream_, kernel, {blocks(rows), kThreads, is_short ? 0 : static_cast<size_t>(d) * sizeof(float)},
           pointer<T>(op.dx_ND), parts, pointer<T>(op.dy_ND), pointer<T>(op.residual_ND), pointer<T>(op.x_ND),
           pointer<float>(op.w_D), pointer<float>(op.rstd_N), n, d);
  });
  add_columns(stream_, pointer<float>(op.dw_D), parts, rows, d);
}

}  // namespace moe::gpu
