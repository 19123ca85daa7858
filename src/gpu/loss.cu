// SPDX-License-Identifier: MIT
// cross_entropy: a block a row, which reads the row twice; the second time from L2, which holds the rows of all running
// blocks (100 kB each at 50304 words of bf16). So memory sees one read and one write.
#include "ops/contracts/loss.h"

#include <cfloat>

#include "gpu/block_reduce.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"

namespace moe::gpu {
namespace {

constexpr int kThreads = 512;

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

// Columns from `vocabulary` on count as -inf.
template <class T, int width>
__device__ SoftmaxSum sum_row(const T* row, int vocabulary) {
  SoftmaxSum sum;
#pragma unroll 2
  for (int c = static_cast<int>(threadIdx.x) * width; c < vocabulary; c += kThreads * width) {
    const auto v = load<width>(row + c);
    float x[width];
#pragma unroll
    for (int j = 0; j < width; ++j) x[j] = c + j < vocabulary ? to_float(v.v[j]) : -INFINITY;
    sum.add(x);
  }
  sum.combine_block();
  return sum;
}

// A target outside the vocabulary makes the loss and the gradient NaN, which ends the run.
template <class T, int width>
__global__ void __launch_bounds__(kThreads, 2)
    cross_entropy_kernel(float* loss_N, T* logits_NV, const int32_t* target_N, int columns, int vocabulary,
                         const float* scale_1) {
  T* const row = logits_NV + int64_t{blockIdx.x} * columns;
  const int target = target_N[blockIdx.x], first = static_cast<int>(threadIdx.x) * width;
  if (target < 0) {
    if (threadIdx.x == 0) loss_N[blockIdx.x] = 0;
    if (scale_1 == nullptr) return;
    for (int c = first; c < columns; c += kThreads * width) store(row + c, Vec<T, width>{});
    return;
  }
  const SoftmaxSum sum = sum_row<T, width>(row, vocabulary);
  const bool known = target < vocabulary;
  if (threadIdx.x == 0)
    loss_N[blockIdx.x] = known ? logf(sum.total) + (sum.largest - to_float(row[target])) : NAN;
  if (scale_1 == nullptr) return;
  __syncthreads();  // row[target] is read
  const float scale = *scale_1, factor = known ? scale / sum.total : NAN;
#pragma unroll 2
  for (int c = first; c < columns; c += kThreads * width) {
    auto v = load<width>(row + c);
#pragma unroll
    for (int j = 0; j < width; ++j) {
      const float softmax = __expf(to_float(v.v[j]) - sum.largest) * factor;
      const float gradient = c + j == target ? softmax - scale : softmax;
      v.v[j] = from_float<T>(c + j < vocabulary ? gradient : 0);
    }
    store(row + c, v);
  }
}

}  // namespace

void GpuOps::cross_entropy(Tensor loss_N, Tensor logits_NV, const Tensor& target_N, int64_t vocabulary,
                           const Tensor& gradient_scale_1) {
  contracts::cross_entropy(loss_N, logits_NV, target_N, vocabulary, gradient_scale_1);
  const int64_t rows = logits_NV.dim(0), columns = logits_NV.dim(1);
  CHECK(columns < (int64_t{1} << 30), logits_NV.describe());
  if (rows == 0) return;
  with_activation(logits_NV.dtype(), [&]<class T>() {
    const auto kernel = vector_width<T>(columns, logits_NV.data()) == 1
                            ? cross_entropy_kernel<T, 1>
                            : cross_entropy_kernel<T, 16 / sizeof(T)>;
    launch(stream_, kernel, {blocks(rows), kThreads}, pointer<float>(loss_N), pointer<T>(logits_NV),
           pointer<int32_t>(target_N), static_cast<int>(columns), static_cast<int>(vocabulary),
           pointer<float>(gradient_scale_1));
  });
}

}  // namespace moe::gpu
