// SPDX-License-Identifier: MIT
// cross_entropy: a block a row, which it needs twice for a gradient. Between, the row stays in shared memory
// where two blocks a processor have room for theirs (50304 words of bf16 are 98 KiB), else in L2. So memory
// sees one read and one write.
#include <cfloat>

#include "gpu/block_reduce.cuh"
#include "gpu/dynamic_shared.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/portable/fp8.cuh"

namespace moe::gpu {
namespace {

constexpr int kThreads = 512;
constexpr size_t kOtherShared = 2 << 10;  // of a block: what sums over it need, and CUDA's own

// The largest of some logits, and the sum of exp(logit - largest).
struct SoftmaxSum {
  float largest = -FLT_MAX, total = 0;

  template <int width>
  __device__ void add(const float (&x)[width]) {
    float top = largest;
#pragma unroll
    for (int j = 0; j < width; ++j) top = fmaxf(top, x[j]);
    total *= __expf(largest - top);
#pragma unroll
    for (int j = 0; j < width; ++j) total += __expf(x[j] - top);
    largest = top;
  }
  __device__ void combine_block() {
    const float top = block_max(largest);
    total = block_sum(total * __expf(largest - top));
    largest = top;
  }
};

// Columns from `vocabulary` on count as -inf. kept: the thread's elements are copied to `copy`.
template <class T, int width, bool kept>
__device__ SoftmaxSum sum_row(T* copy, const T* row, int columns, int vocabulary) {
  SoftmaxSum sum;
#pragma unroll 4
  for (int c = static_cast<int>(threadIdx.x) * width; c < columns; c += kThreads * width) {
    const auto v = load<width>(row + c);
    if (kept) store(copy + c, v);
    float x[width];
#pragma unroll
    for (int j = 0; j < width; ++j) x[j] = c + j < vocabulary ? to_float(v.v[j]) : -INFINITY;
    sum.add(x);
  }
  sum.combine_block();
  return sum;
}

// A row's gradient as E5M2, while it is written piece by piece.
template <class T, int width>
struct Fp8Row {
  Fp8Rows out;
  int64_t begin = 0;  // of the row
  float inverse = 1;
  bool counts = false;
  uint32_t largest = 0;
  CensusCounts counted = {};

  __device__ __forceinline__ Fp8Row(const Fp8Rows& rows, int columns, float scale_1) : out(rows) {
    if (out.value == nullptr) return;
    const float scale = fp8_scale<kE5M2>(__float_as_uint(scale_1) & 0x7fffffffU);
    if (threadIdx.x == 0) out.scale[blockIdx.x] = scale;
    begin = int64_t{blockIdx.x} * columns;
    inverse = fp8_inverse_scale(scale);
    counts = out.counts(blockIdx.x);
  }
  __device__ __forceinline__ void write(int c, const Vec<T, width>& v) {
    if (out.value == nullptr) return;
    const auto q = quantised<kE5M2>(v, inverse);
    store(out.value + begin + c, q);
    if (!counts) return;
    largest = largest_bits(largest, v);
    counted.template add<kE5M2>(v, q, inverse);
  }
  // All threads call it.
  __device__ __forceinline__ void finish() const {
    if (counts) counted.add_to(out.census, warp_max(largest));
  }
};

// A target outside the vocabulary makes the loss and the gradient NaN, which ends the run.
template <class T, int width, bool kept>
__global__ void __launch_bounds__(kThreads, 2)
    cross_entropy_kernel(float* loss_N, T* logits_NV, const int32_t* target_N, int columns, int vocabulary,
                         const float* scale_1, Fp8Rows gradient8_NV) {
  T* const row = logits_NV + int64_t{blockIdx.x} * columns;
  T* const copy = kept ? dynamic_shared<T>() : row;  // each thread reads again what it has copied
  const int target = target_N[blockIdx.x], first = static_cast<int>(threadIdx.x) * width;
  if (target < 0) {
    if (threadIdx.x == 0) loss_N[blockIdx.x] = 0;
    if (scale_1 == nullptr) return;
    Fp8Row<T, width> row8(gradient8_NV, columns, *scale_1);
    for (int c = first; c < columns; c += kThreads * width) {
      store(row + c, Vec<T, width>{});
      row8.write(c, {});
    }
    return row8.finish();
  }
  const SoftmaxSum sum = sum_row<T, width, kept>(copy, row, columns, vocabulary);
  const bool known = target < vocabulary;
  if (threadIdx.x == 0)
    loss_N[blockIdx.x] = known ? logf(sum.total) + (sum.largest - to_float(row[target])) : NAN;
  if (scale_1 == nullptr) return;
  __syncthreads();  // row[target] is read
  const float scale = *scale_1, factor = known ? scale / sum.total : NAN;
  Fp8Row<T, width> row8(gradient8_NV, columns, scale);
#pragma unroll 4
  for (int c = first; c < columns; c += kThreads * width) {
    auto v = load<width>(copy + c);
#pragma unroll
    for (int j = 0; j < width; ++j) {
      const float softmax = __expf(to_float(v.v[j]) - sum.largest) * factor;
      const float gradient = c + j == target ? softmax - scale : softmax;
      v.v[j] = from_float<T>(c + j < vocabulary ? gradient : 0);
    }
    store(row + c, v);
    row8.write(c, v);
  }
  row8.finish();
}

}  // namespace

void GpuOps::cross_entropy(CrossEntropy op) {
  op.check();
  const int64_t rows = op.logits_NV.dim(0), columns = op.logits_NV.dim(1);
  CHECK(columns < (int64_t{1} << 30), op.logits_NV.describe());
  if (rows == 0) return;
  with_activation(op.logits_NV.dtype(), [&]<class T>() {
    constexpr int width = 16 / sizeof(T);
    const bool wide = vector_width<T>(columns, op.logits_NV.data()) == width &&
                      reinterpret_cast<uintptr_t>(op.gradient8_NV.value.data()) % width == 0;
    const size_t row_bytes = static_cast<size_t>(columns) * sizeof(T);
    const bool kept =
        wide && !op.gradient_scale_1.empty() && 2 * (row_bytes + kOtherShared) <= shared_of_processor_;
    const auto kernel = kept   ? cross_entropy_kernel<T, width, true>
                        : wide ? cross_entropy_kernel<T, width, false>
                               : cross_entropy_kernel<T, 1, false>;
    launch(stream_, kernel, {blocks(rows), kThreads, kept ? row_bytes : 0}, pointer<float>(op.loss_N),
           pointer<T>(op.logits_NV), pointer<int32_t>(op.target_N), static_cast<int>(columns),
           static_cast<int>(op.vocabulary), pointer<float>(op.gradient_scale_1), fp8_rows(op.gradient8_NV));
  });
}

}  // namespace moe::gpu
