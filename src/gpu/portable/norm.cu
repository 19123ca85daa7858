// SPDX-License-Identifier: MIT
// RMSNorm. Forward: a warp a row, which it holds in registers. Backward: a block takes rows in turn and sums
// its share of the weight's gradient, each column by one thread; the shares are added in order
// (column_sums.cuh). While a row is computed the next one is on its way to shared memory.
#include <algorithm>

#include "gpu/block_reduce.cuh"
#include "gpu/dynamic_shared.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/mma.cuh"
#include "gpu/numbers.cuh"
#include "gpu/portable/column_sums.cuh"

namespace moe::gpu {
namespace {

constexpr int kWarps = 4;  // rows of a forward block
constexpr int kThreads = 128;
constexpr int kBlocksPerSm = 8;
constexpr int kMostThreads = 1024;  // of a processor, in backward: each may have 64 registers
constexpr int kMostBlocks = 16;     // of a processor: what the GPUs with the fewest take
constexpr int kStages = 2;          // rows of a backward block that are under way or computed

template <class T>
constexpr int kWidth = 16 / sizeof(T);  // elements that a thread moves at once

// `width` weights from an address that is a multiple of 16, or one.
template <int width>
__device__ __forceinline__ Vec<float, width> load_weights(const float* w) {
  constexpr int step = width < 4 ? 1 : 4;
  Vec<float, width> out;
#pragma unroll
  for (int q = 0; q < width; q += step) {
    const auto part = load<step>(w + q);
#pragma unroll
    for (int j = 0; j < step; ++j) out.v[q + j] = part.v[j];
  }
  return out;
}

// w * (x * rstd)
template <class T, int width>
__device__ __forceinline__ Vec<T, width> normalise(const Vec<T, width>& x, const float* w_D, float rstd) {
  const auto w = load_weights<width>(w_D);
  Vec<T, width> y;
#pragma unroll
  for (int j = 0; j < width; ++j) y.v[j] = from_float<T>(w.v[j] * (to_float(x.v[j]) * rstd));
  return y;
}

// ---- forward ----

// Where a forward row comes from. A lane has every 32nd piece of it; past the end zeros.
template <class T>
struct RowsInMemory {
  const T* x_ND;

  template <int pieces>
  __device__ __forceinline__ void read(Vec<T, kWidth<T>> (&x)[pieces], int64_t row, int lane,
                                       int64_t d) const {
#pragma unroll
    for (int p = 0; p < pieces; ++p) {
      const int64_t c = int64_t{p * 32 + lane} * kWidth<T>;
      x[p] = c < d ? load<kWidth<T>>(x_ND + row * d + c) : Vec<T, kWidth<T>>{};
    }
  }
};

// Rows of at most `pieces` * 32 * kWidth elements.
template <class T, int pieces, class Rows>
__global__ void __launch_bounds__(kWarps * 32, 32 / pieces)
    forward_kernel(T* y_ND, float* rstd_N, Rows rows, const float* w_D, int64_t n, int64_t d, float eps) {
  constexpr int width = kWidth<T>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (row >= n) return;
  Vec<T, width> x[pieces];
  rows.read(x, row, lane, d);
  float squares = 0;
#pragma unroll
  for (int p = 0; p < pieces; ++p) {
#pragma unroll
    for (int j = 0; j < width; ++j) squares += to_float(x[p].v[j]) * to_float(x[p].v[j]);
  }
  const float rstd = 1.0F / sqrtf(warp_sum(squares) / static_cast<float>(d) + eps);
  if (lane == 0) rstd_N[row] = rstd;
#pragma unroll
  for (int p = 0; p < pieces; ++p) {
    const int64_t c = int64_t{p * 32 + lane} * width;
    if (c < d) store(y_ND + row * d + c, normalise(x[p], w_D + c, rstd));
  }
}

// Longer rows, or not aligned: read twice.
template <class T, int width>
__global__ void forward_long_kernel(T* y_ND, float* rstd_N, const T* x_ND, const float* w_D, int64_t n,
                                    int64_t d, float eps) {
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
  for (int64_t c = lane * width; c < d; c += 32 * width)
    store(y_ND + row * d + c, normalise(load<width>(x + c), w_D + c, rstd));
}

// ---- backward ----

// The gradient of `width` elements of a row: adds this row's share to dw, returns dx.
template <class T, int width>
__device__ __forceinline__ Vec<T, width> differentiate(float* dw, const Vec<float, width>& dy,
                                                       const Vec<T, width>& x, const Vec<T, width>& residual,
                                                       const float* w, float rstd, float mean) {
  Vec<T, width> dx;
#pragma unroll
  for (int j = 0; j < width; ++j) {
    const float normed = to_float(x.v[j]) * rstd, g = dy.v[j];
    dw[j] += g * normed;
    dx.v[j] = from_float<T>(to_float(residual.v[j]) + rstd * (g * w[j] - normed * mean));
  }
  return dx;
}

template <class T, int width>
__device__ __forceinline__ float inner(const Vec<float, width>& dy, const Vec<T, width>& x, const float* w) {
  float sum = 0;
#pragma unroll
  for (int j = 0; j < width; ++j) sum += dy.v[j] * w[j] * to_float(x.v[j]);
  return sum;
}

template <class T>
struct BackwardRows {
  const T *dy_ND, *x_ND, *residual_ND;  // residual: null without
  int64_t d;

  __host__ __device__ int sources() const { return residual_ND == nullptr ? 2 : 3; }
};

template <class T, int width>
__device__ __forceinline__ Vec<float, width> widen(const Vec<T, width>& x) {
  Vec<float, width> wide;
#pragma unroll
  for (int j = 0; j < width; ++j) wide.v[j] = to_float(x.v[j]);
  return wide;
}

// Starts the copies of a thread's piece of a row, from column c on: dy, x, residual.
template <class T>
__device__ __forceinline__ void fetch(Vec<T, kWidth<T>>* to, const BackwardRows<T>& in, int64_t row,
                                      int64_t c) {
  const int64_t at = row * in.d + c;
  const auto copy = [&](const T* from) {
    cp_async_16(to, from, 16);
    to += blockDim.x;
  };
  copy(in.dy_ND + at);
  copy(in.x_ND + at);
  if (in.residual_ND != nullptr) copy(in.residual_ND + at);
}

// Rows of at most kMostThreads * kWidth elements: a thread has one piece of each row, which nobody else
// touches in shared memory, and that piece's w and dw in registers.
template <class T>
__global__ void __launch_bounds__(kMostThreads)
    backward_kernel(T* dx_ND, float* dw_parts, BackwardRows<T> in, const float* w_D, const float* rstd_N,
                    int64_t n) {
  constexpr int width = kWidth<T>;
  using Piece = Vec<T, width>;
  const int64_t c = int64_t{threadIdx.x} * width;
  const bool has = c < in.d;
  const int threads = static_cast<int>(blockDim.x), stage = in.sources() * threads;
  Piece* const pieces = dynamic_shared<Piece>() + threadIdx.x;
  float w[width] = {}, dw[width] = {};
  for (int j = 0; j < width && has; ++j) w[j] = w_D[c + j];
  if (has) fetch(pieces, in, blockIdx.x, c);
  cp_async_commit();
  int turn = 0;
  for (int64_t row = blockIdx.x; row < n; row += gridDim.x, turn ^= 1) {
    if (has && row + gridDim.x < n) fetch(pieces + (turn ^ 1) * stage, in, row + gridDim.x, c);
    cp_async_commit();  // empty past the end, so that the waits count alike
    const float rstd = rstd_N[row];
    cp_async_wait<kStages - 1>();
    const Piece* const here = pieces + turn * stage;
    Vec<float, width> dy{};
    Piece x{}, residual{};
    if (has) {
      dy = widen(here[0]);
      x = here[threads];
      if (in.residual_ND != nullptr) residual = here[2 * threads];
    }
    const float mean = rstd / static_cast<float>(in.d) * block_sum(inner(dy, x, w));
    const auto dx = differentiate(dw, dy, x, residual, w, rstd, mean);
    if (has) store(dx_ND + row * in.d + c, dx);
  }
  for (int j = 0; j < width && has; ++j) dw_parts[int64_t{blockIdx.x} * in.d + c + j] = dw[j];
}

// Rows of any length and address: a thread has several elements, read twice, and their dw in shared memory.
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    backward_long_kernel(T* dx_ND, float* dw_parts, BackwardRows<T> in, const float* w_D, const float* rstd_N,
                         int64_t n) {
  using One = Vec<T, 1>;
  float* const dw = dynamic_shared<float>();
  const int64_t d = in.d;
  for (int64_t c = threadIdx.x; c < d; c += kThreads) dw[c] = 0;
  for (int64_t row = blockIdx.x; row < n; row += gridDim.x) {
    const T *const dy = in.dy_ND + row * d, *const x = in.x_ND + row * d;
    float part = 0;
    for (int64_t c = threadIdx.x; c < d; c += kThreads)
      part += inner(widen(load<1>(dy + c)), load<1>(x + c), w_D + c);
    const float rstd = rstd_N[row], mean = rstd / static_cast<float>(d) * block_sum(part);
    for (int64_t c = threadIdx.x; c < d; c += kThreads) {
      const One residual = in.residual_ND == nullptr ? One{} : load<1>(in.residual_ND + row * d + c);
      store(dx_ND + row * d + c,
            differentiate(dw + c, widen(load<1>(dy + c)), load<1>(x + c), residual, w_D + c, rstd, mean));
    }
  }
  for (int64_t c = threadIdx.x; c < d; c += kThreads) dw_parts[int64_t{blockIdx.x} * d + c] = dw[c];
}

template <class T, class Rows>
void (*forward_kernel_of(int64_t d))(T*, float*, Rows, const float*, int64_t, int64_t, float) {
  constexpr int64_t piece = 32 * kWidth<T>;
  return d <= 4 * piece ? forward_kernel<T, 4, Rows> : d <= 8 * piece ? forward_kernel<T, 8, Rows> : nullptr;
}

// The blocks of a backward pass.
struct BackwardGrid {
  bool pieces;  // for backward_kernel
  int64_t blocks;
  unsigned threads;
  size_t shared;
};

template <class T>
BackwardGrid backward_grid(const BackwardRows<T>& in, bool wide, int64_t n, int64_t processors,
                           size_t shared_of_processor, size_t shared_of_block) {
  constexpr size_t kOfBlock = 2 << 10;  // beside the pieces, at most: of the system and of sums
  const int64_t threads = ceil_div(in.d, 32 * kWidth<T>) * 32;
  const size_t shared = static_cast<size_t>(kStages * in.sources() * threads) * 16;
  if (!wide || threads > kMostThreads || shared + kOfBlock > shared_of_block)
    return {false, std::min(n, kBlocksPerSm * processors), kThreads,
            static_cast<size_t>(in.d) * sizeof(float)};
  const auto by_shared = static_cast<int64_t>(shared_of_processor / (shared + kOfBlock));
  const int64_t of_processor = std::min({int64_t{kMostBlocks}, kMostThreads / threads, by_shared});
  return {true, std::min(n, of_processor * processors), static_cast<unsigned>(threads), shared};
}

}  // namespace

void GpuOps::rms_norm_forward(RmsNormForward op) {
  op.check();
  const int64_t n = op.x_ND.dim(0), d = op.x_ND.dim(1);
  if (n == 0) return;
  const Grid grid{blocks(ceil_div(n, kWarps)), kWarps * 32};
  with_activation(op.x_ND.dtype(), [&]<class T>() {
    const RowsInMemory<T> rows{pointer<T>(op.x_ND)};
    const bool wide = vector_width<T>(d, op.y_ND.data(), op.x_ND.data(), op.w_D.data()) > 1;
    if (const auto kernel = forward_kernel_of<T, RowsInMemory<T>>(d); wide && kernel != nullptr)
      return launch(stream_, kernel, grid, pointer<T>(op.y_ND), pointer<float>(op.rstd_N), rows,
                    pointer<float>(op.w_D), n, d, op.eps);
    launch(stream_, wide ? forward_long_kernel<T, kWidth<T>> : forward_long_kernel<T, 1>, grid,
           pointer<T>(op.y_ND), pointer<float>(op.rstd_N), rows.x_ND, pointer<float>(op.w_D), n, d, op.eps);
  });
}

void GpuOps::rms_norm_backward(RmsNormBackward op) {
  op.check();
  const int64_t n = op.x_ND.dim(0), d = op.x_ND.dim(1);
  if (n == 0) return;
  with_activation(op.x_ND.dtype(), [&]<class T>() {
    const BackwardRows<T> in{pointer<T>(op.dy_ND), pointer<T>(op.x_ND), pointer<T>(op.residual_ND), d};
    const bool wide =
        vector_width<T>(d, op.dx_ND.data(), op.dy_ND.data(), op.residual_ND.data(), op.x_ND.data()) > 1;
    const BackwardGrid grid = backward_grid(in, wide, n, num_sms_, shared_of_processor_, shared_of_block_);
    float* const parts = workspace_.carve().take<float>(grid.blocks * d);
    launch(stream_, grid.pieces ? backward_kernel<T> : backward_long_kernel<T>,
           {blocks(grid.blocks), grid.threads, grid.shared}, pointer<T>(op.dx_ND), parts, in,
           pointer<float>(op.w_D), pointer<float>(op.rstd_N), n);
    add_columns(stream_, pointer<float>(op.dw_D), parts, grid.blocks, d);
  });
}

}  // namespace moe::gpu
