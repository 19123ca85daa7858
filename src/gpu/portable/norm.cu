// SPDX-License-Identifier: MIT
// RMSNorm, alone and with the experts' rows that are summed beside it. Forward: a warp a row, which it holds
// in registers. Backward: a block takes rows in turn and sums its share of the weight's gradient, each column
// by one thread; the shares are added in order (column_sums.cuh). While a row is computed the next one is on
// its way to shared memory.
#include <algorithm>
#include <bit>

#include "gpu/block_reduce.cuh"
#include "gpu/dynamic_shared.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/mma.cuh"
#include "gpu/numbers.cuh"
#include "gpu/portable/column_sums.cuh"
#include "gpu/portable/fp8.cuh"

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

// 16 bytes of T, as they are in registers until they are computed with: one by one they would take more.
using Packed = Vec<uint32_t, 4>;

template <class T>
__device__ __forceinline__ Vec<T, kWidth<T>> unpack(const Packed& x) {
  return std::bit_cast<Vec<T, kWidth<T>>>(x);
}

// A lane's pieces of a row, every 32nd one: zeros past the end, and where there is no row.
template <class T, int pieces>
__device__ __forceinline__ void load_pieces(Packed (&x)[pieces], const T* row, int lane, int64_t d) {
#pragma unroll
  for (int p = 0; p < pieces; ++p) {
    const int64_t c = int64_t{p * 32 + lane} * kWidth<T>;
    x[p] = row != nullptr && c < d ? *reinterpret_cast<const Packed*>(row + c) : Packed{};
  }
}

// Where a forward row comes from. kPieces: those of a lane, times the blocks that a processor has room for.
template <class T>
struct RowsInMemory {
  static constexpr int kPieces = 32;
  const T* x_ND;

  template <int pieces>
  __device__ __forceinline__ void read(Packed (&x)[pieces], int64_t n, int lane, int64_t d) const {
    load_pieces(x, x_ND + n * d, lane, d);
  }
};

// The sums of CombineRows, which go to y_ND on their way. residual may be y. While one row is added the next
// one is loaded.
template <class T>
struct CombinedRows {
  static constexpr int kPieces = 20;
  T* y_ND;
  const T *residual_ND, *x_RD;
  const float* weight_NK;
  const int32_t* row_NK;
  int choices;

  template <int pieces>
  __device__ __forceinline__ void read(Packed (&x)[pieces], int64_t n, int lane, int64_t d) const {
    constexpr int width = kWidth<T>;
    const int32_t* const rows = row_NK + n * choices;
    int row = rows[0];
    load_pieces<T>(x, residual_ND == nullptr ? nullptr : residual_ND + n * d, lane, d);
    float sum[pieces][width] = {};
    float weight = 1;  // of what is in x
#pragma unroll 1
    for (int k = 0; k < choices; ++k) {
      Packed next[pieces];
      load_pieces<T>(next, row < 0 ? nullptr : x_RD + int64_t{row} * d, lane, d);
      const float of_next = weight_NK == nullptr ? 1.0F : weight_NK[n * choices + k];
      if (k + 1 < choices) row = rows[k + 1];
      add(sum, weight, x);
#pragma unroll
      for (int p = 0; p < pieces; ++p) x[p] = next[p];
      weight = of_next;
    }
    add(sum, weight, x);
#pragma unroll
    for (int p = 0; p < pieces; ++p) {
      Vec<T, width> y;
#pragma unroll
      for (int j = 0; j < width; ++j) y.v[j] = from_float<T>(sum[p][j]);
      x[p] = std::bit_cast<Packed>(y);
      const int64_t c = int64_t{p * 32 + lane} * width;
      if (c < d) store(y_ND + n * d + c, y);
    }
  }

 private:
  template <int pieces, int width>
  static __device__ __forceinline__ void add(float (&sum)[pieces][width], float weight,
                                             const Packed (&x)[pieces]) {
#pragma unroll
    for (int p = 0; p < pieces; ++p) {
      const auto v = unpack<T>(x[p]);
#pragma unroll
      for (int j = 0; j < width; ++j) sum[p][j] += weight * to_float(v.v[j]);
    }
  }
};

// What a warp has of a row, as FP8. Nothing where it goes nowhere.
template <class T, int pieces>
__device__ __forceinline__ void quantise_row(const Fp8Rows& out, const Packed (&y)[pieces], int64_t row,
                                             int lane, int64_t d) {
  if (out.value == nullptr) return;
  uint32_t largest = 0;
#pragma unroll
  for (int p = 0; p < pieces; ++p) largest = largest_bits(largest, unpack<T>(y[p]));
  largest = warp_max(largest);
  const float scale = fp8_scale<kE4M3>(largest), inverse = fp8_inverse_scale(scale);
  if (lane == 0) out.scale[row] = scale;
  CensusCounts counted;
#pragma unroll
  for (int p = 0; p < pieces; ++p) {
    const int64_t c = int64_t{p * 32 + lane} * kWidth<T>;
    if (c >= d) continue;
    const auto q = quantised<kE4M3>(unpack<T>(y[p]), inverse);
    store(out.value + row * d + c, q);
    if (out.counts(row)) counted.template add<kE4M3>(unpack<T>(y[p]), q, inverse);
  }
  if (out.counts(row)) counted.add_to(out.census, largest);
}

// Rows of at most `pieces` * 32 * kWidth elements.
template <class T, int pieces, class Rows>
__global__ void __launch_bounds__(kWarps * 32, Rows::kPieces / pieces)
    forward_kernel(T* y_ND, float* rstd_N, Rows rows, const float* w_D, int64_t n, int64_t d, float eps,
                   Fp8Rows y8_ND) {
  constexpr int width = kWidth<T>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (row >= n) return;
  Packed x[pieces];
  rows.read(x, row, lane, d);
  float squares = 0;
#pragma unroll
  for (int p = 0; p < pieces; ++p) {
    const auto v = unpack<T>(x[p]);
#pragma unroll
    for (int j = 0; j < width; ++j) squares += to_float(v.v[j]) * to_float(v.v[j]);
  }
  const float rstd = 1.0F / sqrtf(warp_sum(squares) / static_cast<float>(d) + eps);
  if (lane == 0) rstd_N[row] = rstd;
#pragma unroll
  for (int p = 0; p < pieces; ++p) {
    const int64_t c = int64_t{p * 32 + lane} * width;
    const auto y = c < d ? normalise(unpack<T>(x[p]), w_D + c, rstd) : Vec<T, width>{};
    if (c < d) store(y_ND + row * d + c, y);
    x[p] = std::bit_cast<Packed>(y);
  }
  quantise_row<T>(y8_ND, x, row, lane, d);
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

// What a row's gradient is made of. The gradient of the norm's output is dy and, with `choices` above 0, the
// rows of x_RD that a plan names.
template <class T>
struct BackwardRows {
  const T *dy_ND, *x_ND, *residual_ND;  // residual: null without
  int64_t d;
  const T* x_RD = nullptr;
  const int32_t* row_NK = nullptr;
  int choices = 0;

  __host__ __device__ int sources() const { return (residual_ND == nullptr ? 2 : 3) + choices; }
};

template <class T, int width>
__device__ __forceinline__ Vec<float, width> widen(const Vec<T, width>& x) {
  Vec<float, width> wide;
#pragma unroll
  for (int j = 0; j < width; ++j) wide.v[j] = to_float(x.v[j]);
  return wide;
}

// Starts the copies of a thread's piece of a row, from column c on: dy, x, residual, rows of x_RD.
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
  for (int k = 0; k < in.choices; ++k) {
    const int chosen = in.row_NK[row * in.choices + k];
    cp_async_16_or_zero(to, in.x_RD + int64_t{max(chosen, 0)} * in.d + c, chosen >= 0);
    to += blockDim.x;
  }
}

// The gradient of the norm's output, in the order of CombineRows, from what fetch() has brought.
template <class T, int width>
__device__ __forceinline__ Vec<float, width> sum_rows(const Vec<T, width>* here, const BackwardRows<T>& in) {
  Vec<float, width> dy = widen(here[0]);
  here += (in.sources() - in.choices) * static_cast<int>(blockDim.x);
  for (int k = 0; k < in.choices; ++k) {
    const auto row = here[k * static_cast<int>(blockDim.x)];
#pragma unroll
    for (int j = 0; j < width; ++j) dy.v[j] += to_float(row.v[j]);
  }
  return dy;
}

// What a thread has of a row, which is a block's, as FP8. All threads call it.
template <class T>
__device__ __forceinline__ void quantise_piece(const Fp8Rows& out, const Vec<T, kWidth<T>>& x, int64_t row,
                                               int64_t c, int64_t d) {
  const uint32_t largest = block_max(largest_bits(0, x));
  const float scale = fp8_scale<kE4M3>(largest), inverse = fp8_inverse_scale(scale);
  if (threadIdx.x == 0) out.scale[row] = scale;
  const auto q = quantised<kE4M3>(x, inverse);
  if (c < d) store(out.value + row * d + c, q);
  if (!out.counts(row)) return;
  CensusCounts counted;
  counted.template add<kE4M3>(x, q, inverse);  // zeros past the end count nothing
  counted.add_to(out.census, largest);
}

// Rows of at most kMostThreads * kWidth elements: a thread has one piece of each row, which nobody else
// touches in shared memory, and that piece's w and dw in registers.
template <class T>
__global__ void __launch_bounds__(kMostThreads)
    backward_kernel(T* dx_ND, float* dw_parts, BackwardRows<T> in, const float* w_D, const float* rstd_N,
                    int64_t n, Fp8Rows dx8_ND) {
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
      dy = sum_rows(here, in);
      x = here[threads];
      if (in.residual_ND != nullptr) residual = here[2 * threads];
    }
    const float mean = rstd / static_cast<float>(in.d) * block_sum(inner(dy, x, w));
    const auto dx = differentiate(dw, dy, x, residual, w, rstd, mean);
    if (has) store(dx_ND + row * in.d + c, dx);
    if (dx8_ND.value != nullptr) quantise_piece(dx8_ND, dx, row, c, in.d);
  }
  for (int j = 0; j < width && has; ++j) dw_parts[int64_t{blockIdx.x} * in.d + c + j] = dw[j];
}

// Rows of any length and address: a thread has several elements, read twice, and their dw in shared memory.
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    backward_long_kernel(T* dx_ND, float* dw_parts, BackwardRows<T> in, const float* w_D, const float* rstd_N,
                         int64_t n, Fp8Rows) {
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
void (*forward_kernel_of(int64_t d))(T*, float*, Rows, const float*, int64_t, int64_t, float, Fp8Rows) {
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
BackwardGrid backward_grid(const BackwardRows<T>& in, const T* dx_ND, const void* dx8_ND, int64_t n,
                           int64_t processors, size_t shared_of_processor, size_t shared_of_block) {
  constexpr size_t kOfBlock = 2 << 10;  // beside the pieces, at most: of the system and of sums
  const bool wide = vector_width<T>(in.d, dx_ND, dx8_ND, in.dy_ND, in.x_ND, in.residual_ND, in.x_RD) > 1;
  const int64_t threads = ceil_div(in.d, 32 * kWidth<T>) * 32;
  const size_t shared = static_cast<size_t>(kStages * in.sources() * threads) * 16;
  if (!wide || threads > kMostThreads || shared + kOfBlock > shared_of_block)
    return {false, std::min(n, kBlocksPerSm * processors), kThreads,
            static_cast<size_t>(in.d) * sizeof(float)};
  const auto by_shared = static_cast<int64_t>(shared_of_processor / (shared + kOfBlock));
  const int64_t of_processor = std::min({int64_t{kMostBlocks}, kMostThreads / threads, by_shared});
  return {true, std::min(n, of_processor * processors), static_cast<unsigned>(threads), shared};
}

template <class T>
void launch_backward(cudaStream_t stream, Workspace::Carving memory, const BackwardGrid& grid,
                     const BackwardRows<T>& in, RmsNormBackward& op) {
  float* const parts = memory.take<float>(grid.blocks * in.d);
  launch(stream, grid.pieces ? backward_kernel<T> : backward_long_kernel<T>,
         {blocks(grid.blocks), grid.threads, grid.shared}, pointer<T>(op.dx_ND), parts, in,
         static_cast<const float*>(pointer<float>(op.w_D)), pointer<float>(op.rstd_N), op.x_ND.dim(0),
         grid.pieces ? fp8_rows(op.dx8_ND) : Fp8Rows{});
  add_columns(stream, pointer<float>(op.dw_D), parts, grid.blocks, in.d);
}

}  // namespace

void GpuOps::rms_norm_forward(RmsNormForward op) {
  op.check();
  const int64_t n = op.x_ND.dim(0), d = op.x_ND.dim(1);
  if (n == 0) return;
  const Grid grid{blocks(ceil_div(n, kWarps)), kWarps * 32};
  with_activation(op.x_ND.dtype(), [&]<class T>() {
    const RowsInMemory<T> rows{pointer<T>(op.x_ND)};
    const bool wide =
        vector_width<T>(d, op.y_ND.data(), op.x_ND.data(), op.w_D.data(), op.y8_ND.value.data()) > 1;
    if (const auto kernel = forward_kernel_of<T, RowsInMemory<T>>(d); wide && kernel != nullptr)
      return launch(stream_, kernel, grid, pointer<T>(op.y_ND), pointer<float>(op.rstd_N), rows,
                    pointer<float>(op.w_D), n, d, op.eps, fp8_rows(op.y8_ND));
    launch(stream_, wide ? forward_long_kernel<T, kWidth<T>> : forward_long_kernel<T, 1>, grid,
           pointer<T>(op.y_ND), pointer<float>(op.rstd_N), rows.x_ND, pointer<float>(op.w_D), n, d, op.eps);
    if (!op.y8_ND.empty()) quantise_rows({op.y8_ND, op.y_ND});
  });
}

void GpuOps::combine_norm_forward(CombineNormForward op) {
  op.check();
  CombineRows& rows = op.combine;
  RmsNormForward& norm = op.norm;
  const int64_t n = norm.x_ND.dim(0), d = norm.x_ND.dim(1);
  if (n == 0) return;
  with_activation(norm.x_ND.dtype(), [&]<class T>() {
    const bool wide = vector_width<T>(d, norm.y_ND.data(), rows.y_ND.data(), rows.residual_ND.data(),
                                      rows.x_RD.data(), norm.w_D.data(), norm.y8_ND.value.data()) > 1;
    const auto kernel = forward_kernel_of<T, CombinedRows<T>>(d);
    if (!wide || kernel == nullptr) return Ops::combine_norm_forward(op);
    launch(stream_, kernel, {blocks(ceil_div(n, kWarps)), kWarps * 32}, pointer<T>(norm.y_ND),
           pointer<float>(norm.rstd_N),
           CombinedRows<T>{pointer<T>(rows.y_ND), pointer<T>(rows.residual_ND), pointer<T>(rows.x_RD),
                           pointer<float>(rows.weight_NK), pointer<int32_t>(rows.plan.row_NK),
                           static_cast<int>(rows.x_RD.dim(0) / n)},
           pointer<float>(norm.w_D), n, d, norm.eps, fp8_rows(norm.y8_ND));
  });
}

void GpuOps::rms_norm_backward(RmsNormBackward op) {
  op.check();
  const int64_t n = op.x_ND.dim(0), d = op.x_ND.dim(1);
  if (n == 0) return;
  with_activation(op.x_ND.dtype(), [&]<class T>() {
    const BackwardRows<T> in{pointer<T>(op.dy_ND), pointer<T>(op.x_ND), pointer<T>(op.residual_ND), d};
    const BackwardGrid grid = backward_grid(in, pointer<T>(op.dx_ND), op.dx8_ND.value.data(), n, num_sms_,
                                            shared_of_processor_, shared_of_block_);
    launch_backward(stream_, workspace_.carve(), grid, in, op);
    if (!grid.pieces && !op.dx8_ND.empty()) quantise_rows({op.dx8_ND, op.dx_ND});
  });
}

void GpuOps::combine_norm_backward(CombineNormBackward op) {
  op.check();
  const CombineRows& rows = op.combine;
  RmsNormBackward& norm = op.norm;
  const int64_t n = norm.x_ND.dim(0), d = norm.x_ND.dim(1);
  if (n == 0) return;
  if (rows.residual_ND.empty() || !rows.weight_NK.empty()) return Ops::combine_norm_backward(op);
  with_activation(norm.x_ND.dtype(), [&]<class T>() {
    const BackwardRows<T> in{pointer<T>(rows.residual_ND),
                             pointer<T>(norm.x_ND),
                             pointer<T>(norm.residual_ND),
                             d,
                             pointer<T>(rows.x_RD),
                             pointer<int32_t>(rows.plan.row_NK),
                             static_cast<int>(rows.x_RD.dim(0) / n)};
    const BackwardGrid grid = backward_grid(in, pointer<T>(norm.dx_ND), norm.dx8_ND.value.data(), n, num_sms_,
                                            shared_of_processor_, shared_of_block_);
    if (!grid.pieces) return Ops::combine_norm_backward(op);
    launch_backward(stream_, workspace_.carve(), grid, in, norm);
  });
}

}  // namespace moe::gpu
