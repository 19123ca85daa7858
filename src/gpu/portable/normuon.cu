// SPDX-License-Identifier: MIT
// NorMuon's rows: a warp finds the mean square and the factor of a row, then the blocks of a matrix add up
// its rows and scale it.
#include "gpu/block_reduce.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"

namespace moe::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kShares = 8;  // thread blocks for one matrix

// What is known of a row.
struct Row {
  double mean_square, factor;
};

__device__ bool is_active(const int32_t* active, int64_t matrix) {
  return active == nullptr || active[matrix] != 0;
}

template <class X>
__global__ void rows_kernel(Row* rows, const X* x, float* v, const int32_t* active, const float* scale_1,
                            MatrixStack stack, float beta2) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32, b = row / stack.rows;
  if (*scale_1 < 0 || b >= stack.count || !is_active(active, b)) return;
  double sum = 0;
  for (int64_t j = threadIdx.x % 32; j < stack.cols; j += 32) {
    const auto value = static_cast<double>(to_float(x[row * stack.cols + j]));
    sum += value * value;
  }
  sum = warp_sum(sum);
  if (threadIdx.x % 32 != 0) return;
  const double mean_square = sum / static_cast<double>(stack.cols), keep = beta2;
  float& moment = v[stack.flat_row(b, row % stack.rows)];
  moment = static_cast<float>(keep * moment + (1 - keep) * mean_square);
  rows[row] = {mean_square, 1 / (sqrt(static_cast<double>(moment)) + NormaliseRows::kEpsilon)};
}

template <class X>
__global__ void scale_rows_kernel(X* x, const Row* rows, const int32_t* active, const float* scale_1,
                                  MatrixStack stack) {
  const int64_t b = blockIdx.y;
  if (*scale_1 < 0 || !is_active(active, b)) return;
  rows += b * stack.rows;
  x += b * stack.elements();
  double before = 0, after = 0;
  for (int64_t i = threadIdx.x; i < stack.rows; i += kThreads) {
    before += rows[i].mean_square;
    after += rows[i].factor * rows[i].factor * rows[i].mean_square;
  }
  before = block_sum(before);
  after = block_sum(after);
  const double same_norm = after > 0 ? sqrt(before / after) : 0;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < stack.elements();
       i += int64_t{kShares} * kThreads) {
    const auto scale = static_cast<float>(rows[i / stack.cols].factor * same_norm);
    x[i] = from_float<X>(scale * to_float(x[i]));
  }
}

}  // namespace

void GpuOps::normalise_rows(NormaliseRows op) {
  op.check();
  const MatrixStack& stack = op.stack;
  CHECK(stack.count < 65536, "a grid of " + std::to_string(stack.count) + " matrices");
  Row* const rows = workspace_.carve().take<Row>(stack.count * stack.rows);
  const int32_t* const active = pointer<int32_t>(op.active_B);
  const float* const scale = pointer<float>(op.scale_1);
  with_f32_or_bf16(op.x.dtype(), [&]<class X>() {
    launch(stream_, rows_kernel<X>, {blocks(ceil_div(stack.count * stack.rows, kWarps)), kThreads}, rows,
           pointer<X>(std::as_const(op.x)), pointer<float>(op.v), active, scale, stack, op.beta2);
    launch(stream_, scale_rows_kernel<X>, {dim3(kShares, blocks(stack.count)), kThreads}, pointer<X>(op.x),
           rows, active, scale, stack);
  });
}

}  // namespace moe::gpu
