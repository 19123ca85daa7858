// SPDX-License-Identifier: MIT
// FP8 operands. By rows: a warp a row, in its registers where it is short enough. By columns: one
// pass for the scales, and one through shared memory that turns tiles.
#include "gpu/portable/fp8.cuh"

#include <algorithm>

#include "gpu/gpu_ops.h"
#include "gpu/launch.h"

namespace moe::gpu {
namespace {

constexpr int kWarps = 4;  // a block's rows

template <class Q>
constexpr Fp8Format kFormat = kE4M3;
template <>
inline constexpr Fp8Format kFormat<e5m2> = kE5M2;

template <class Body>
void with_fp8(DType dtype, Body&& body) {
  CHECK(is_fp8(dtype), "no type of 8 bits");
  if (dtype == DType::e4m3) return body.template operator()<e4m3>();
  body.template operator()<e5m2>();
}

// Rows of at most pieces * 32 * width elements; 0: of any length, read twice.
template <class Q, class T, int width, int pieces>
__global__ void __launch_bounds__(kWarps * 32)
    rows_kernel(Fp8Rows out, const T* x_RC, int64_t rows, int64_t columns) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const T* const x = x_RC + row * columns;
  constexpr int kept = std::max(pieces, 1);
  Vec<T, width> held[kept];
  uint32_t largest = 0;
  if constexpr (pieces > 0) {
#pragma unroll
    for (int p = 0; p < pieces; ++p) {
      const int64_t c = int64_t{p * 32 + lane} * width;
      held[p] = c < columns ? load<width>(x + c) : Vec<T, width>{};
    }
#pragma unroll
    for (int p = 0; p < pieces; ++p) largest = largest_bits(largest, held[p]);
  } else {
    for (int64_t c = lane * width; c < columns; c += 32 * width)
      largest = largest_bits(largest, load<width>(x + c));
  }
  largest = warp_max(largest);
  const float scale = fp8_scale<kFormat<Q>>(largest), inverse = fp8_inverse_scale(scale);
  if (lane == 0) out.scale[row] = scale;
  const bool counts = out.counts(row);
  CensusCounts counted;
  const auto write = [&](int64_t c, const Vec<T, width>& v) {
    const auto q = quantised<kFormat<Q>>(v, inverse);
    store(out.value + row * columns + c, q);
    if (counts) counted.template add<kFormat<Q>>(v, q, inverse);
  };
  if constexpr (pieces > 0) {
#pragma unroll
    for (int p = 0; p < pieces; ++p)
      if (const int64_t c = int64_t{p * 32 + lane} * width; c < columns) write(c, held[p]);
  } else {
    for (int64_t c = lane * width; c < columns; c += 32 * width) write(c, load<width>(x + c));
  }
  if (counts) counted.add_to(out.census, largest);
}

// A block's tile of x, kSide columns wide; a thread has `width` neighbours of a row, every kDown-th row.
constexpr int kSide = 64, kThreads = 256;
constexpr int64_t kRowsOfMaximum = 512;  // of a block
template <int width>
constexpr int kAcross = kSide / width;
template <int width>
constexpr int kDown = kThreads / kAcross<width>;

template <class T, int width>
struct Columns {
  const T* x;
  int64_t first, rows, columns;  // first: the thread's column

  __device__ __forceinline__ Columns(const T* x_ERC, int64_t matrix_rows, int64_t matrix_columns)
      : x(x_ERC + int64_t{blockIdx.z} * matrix_rows * matrix_columns),
        first(int64_t{blockIdx.x} * kSide + static_cast<int>(threadIdx.x) % kAcross<width> * width),
        rows(matrix_rows),
        columns(matrix_columns) {}
  __device__ __forceinline__ Vec<T, width> at(int64_t row) const {
    return first < columns && row < rows ? load<width>(x + row * columns + first) : Vec<T, width>{};
  }
};

// largest_C: bits of each column's largest size, zero before; whole numbers, whose maximum has no order.
template <class T, int width>
__global__ void __launch_bounds__(kThreads)
    column_maxima_kernel(int* largest_EC, const T* x_ERC, int64_t rows, int64_t columns) {
  __shared__ uint32_t parts[kDown<width>][kSide];
  const Columns<T, width> in(x_ERC, rows, columns);
  const int line = static_cast<int>(threadIdx.x) / kAcross<width>;
  const int64_t begin = int64_t{blockIdx.y} * kRowsOfMaximum, end = min(begin + kRowsOfMaximum, rows);
  uint32_t most[width] = {};
  for (int64_t row = begin + line; row < end; row += kDown<width>) {
    const auto v = in.at(row);
#pragma unroll
    for (int j = 0; j < width; ++j) most[j] = largest_bits(most[j], Vec<T, 1>{{v.v[j]}});
  }
#pragma unroll
  for (int j = 0; j < width; ++j)
    parts[line][static_cast<int>(threadIdx.x) % kAcross<width> * width + j] = most[j];
  __syncthreads();
  const int64_t column = int64_t{blockIdx.x} * kSide + threadIdx.x;
  if (threadIdx.x >= kSide || column >= columns) return;
  uint32_t top = 0;
  for (int other = 0; other < kDown<width>; ++other) top = max(top, parts[other][threadIdx.x]);
  atomicMax(largest_EC + int64_t{blockIdx.z} * columns + column, static_cast<int>(top));
}

struct alignas(16) Turned {
  uint8_t line[kSide][kSide + 16];  // a column each; so wide that few of them share a bank
};

// out[c, r] of x[r, c], and the scales, by the first blocks of each column.
template <class Q, class T, int width>
__global__ void __launch_bounds__(kThreads)
    columns_kernel(Fp8Rows out, const int* largest_EC, const T* x_ERC, int64_t rows, int64_t columns) {
  __shared__ Turned turned;
  const Columns<T, width> in(x_ERC, rows, columns);
  const int thread = static_cast<int>(threadIdx.x), line = thread / kAcross<width>;
  const int64_t out_row = int64_t{blockIdx.z} * columns;  // of the matrix's first column
  const int64_t begin = int64_t{blockIdx.y} * kSide;
  float inverse[width];
  CensusCounts counted;
  uint32_t most = 0;
#pragma unroll
  for (int j = 0; j < width; ++j) {
    const int64_t row = out_row + in.first + j;
    const uint32_t bits = in.first + j < columns ? static_cast<uint32_t>(largest_EC[row]) : 0;
    const float scale = fp8_scale<kFormat<Q>>(bits);
    inverse[j] = fp8_inverse_scale(scale);
    if (in.first + j >= columns) continue;
    if (begin == 0 && line == 0) out.scale[row] = scale;
    if (out.counts(row)) most = max(most, bits);
  }
  for (int r = line; r < kSide; r += kDown<width>) {
    const auto v = in.at(begin + r);
#pragma unroll
    for (int j = 0; j < width; ++j) {
      const Vec<T, 1> one{{v.v[j]}};
      const auto q = quantised<kFormat<Q>>(one, inverse[j]);
      turned.line[thread % kAcross<width> * width + j][r] = q.v[0];
      if (out.counts(out_row + in.first + j) && in.first + j < columns && begin + r < rows)
        counted.template add<kFormat<Q>>(one, q, inverse[j]);
    }
  }
  if (out.census != nullptr) counted.add_to(out.census, warp_max(most));
  __syncthreads();
  constexpr int kMoved = 16;  // bytes
  const int c = thread / (kSide / kMoved), r = thread % (kSide / kMoved) * kMoved;
  const int64_t column = int64_t{blockIdx.x} * kSide + c;
  if (column >= columns) return;
  uint8_t* const to = out.value + (out_row + column) * rows + begin + r;
  if (rows % kMoved == 0 && reinterpret_cast<uintptr_t>(out.value) % kMoved == 0) {
    if (begin + r < rows) store(to, load<kMoved>(&turned.line[c][r]));
    return;
  }
  for (int i = 0; i < kMoved && begin + r + i < rows; ++i) to[i] = turned.line[c][r + i];
}

}  // namespace

void GpuOps::quantise_rows(QuantiseRows op) {
  op.check();
  const int64_t columns = op.x.dim(op.x.rank() - 1);
  if (op.x.numel() == 0) return;
  const int64_t rows = op.x.numel() / columns;
  with_fp8(op.q.value.dtype(), [&]<class Q>() {
    with_activation(op.x.dtype(), [&]<class T>() {
      constexpr int width = 16 / sizeof(T);
      const bool wide = vector_width<T>(columns, op.x.data()) == width &&
                        reinterpret_cast<uintptr_t>(op.q.value.data()) % width == 0;
      const auto kernel = !wide                        ? rows_kernel<Q, T, 1, 0>
                          : columns <= 4 * 32 * width  ? rows_kernel<Q, T, width, 4>
                          : columns <= 12 * 32 * width ? rows_kernel<Q, T, width, 12>
                                                       : rows_kernel<Q, T, width, 0>;
      launch(stream_, kernel, {blocks(ceil_div(rows, kWarps)), kWarps * 32}, fp8_rows(op.q), pointer<T>(op.x),
             rows, columns);
    });
  });
}

void GpuOps::quantise_columns(QuantiseColumns op) {
  op.check();
  const int rank = op.x.rank();
  const int64_t columns = op.x.dim(rank - 1), rows = op.x.dim(rank - 2);
  if (op.x.numel() == 0) return;
  const int64_t matrices = op.x.numel() / (rows * columns);
  auto memory = workspace_.carve();
  int* const largest = memory.take<int>(matrices * columns);
  CUDA_CHECK(cudaMemsetAsync(largest, 0, static_cast<size_t>(matrices * columns) * sizeof(int), stream_));
  with_fp8(op.q.value.dtype(), [&]<class Q>() {
    with_activation(op.x.dtype(), [&]<class T>() {
      const auto run = [&]<int width>() {
        const unsigned across = blocks(ceil_div(columns, kSide)), deep = blocks(matrices);
        launch(stream_, column_maxima_kernel<T, width>,
               {{across, blocks(ceil_div(rows, kRowsOfMaximum)), deep}, kThreads}, largest, pointer<T>(op.x),
               rows, columns);
        launch(stream_, columns_kernel<Q, T, width>,
               {{across, blocks(ceil_div(rows, kSide)), deep}, kThreads}, fp8_rows(op.q), largest,
               pointer<T>(op.x), rows, columns);
      };
      constexpr int width = 16 / sizeof(T);
      if (vector_width<T>(columns, op.x.data()) == width)
        run.template operator()<width>();
      else
        run.template operator()<1>();
    });
  });
}

}  // namespace moe::gpu
