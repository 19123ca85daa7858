// SPDX-License-Identifier: MIT
// The balance of experts beside the router's losses: of each row, of a whole step, and by biases. All but the
// loss of rows are a few numbers: a block for each layer.
#include "gpu/block_reduce.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/portable/sequence.cuh"

namespace moe::gpu {
namespace {

constexpr int kThreads = 256;
static_assert(kThreads == kSequenceThreads);

// sum over tokens and experts of probability * slope. A block for each row, a warp for each token.
__global__ void sequence_loss_kernel(double* part_B, const float* probability_NE, const float* slope_BE,
                                     int64_t T, int experts) {
  const int64_t row = blockIdx.x;
  const float* const slope = slope_BE + row * experts;
  double sum = 0;
  for (int64_t t = threadIdx.x / 32; t < T; t += kThreads / 32) {
    const float* const p = probability_NE + (row * T + t) * experts;  // 0 of padding
    for (int e = static_cast<int>(threadIdx.x) % 32; e < experts; e += 32)
      sum += static_cast<double>(p[e]) * static_cast<double>(slope[e]);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) part_B[row] = sum;
}

__global__ void add_rows_kernel(float* loss_1, const double* part_B, int64_t rows) {
  double sum = 0;
  for (int64_t b = threadIdx.x; b < rows; b += kThreads) sum += part_B[b];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *loss_1 = static_cast<float>(sum);
}

// Of whole numbers below 2^53: exact in any order.
__device__ double total_of(const int32_t* count, int experts) {
  double total = 0;
  for (int e = static_cast<int>(threadIdx.x); e < experts; e += kThreads) total += count[e];
  return block_sum(total);
}

__global__ void balance_sums_kernel(int32_t* first_E, double* sum_E1, const int32_t* top1_count_E,
                                    const float* P_E, const float* loss_2, int experts) {
  const double tokens = total_of(top1_count_E, experts);
  for (int e = static_cast<int>(threadIdx.x); e < experts; e += kThreads) {
    first_E[e] += top1_count_E[e];
    sum_E1[e] += tokens * static_cast<double>(P_E[e]);
  }
  if (threadIdx.x == 0) sum_E1[experts] += tokens * static_cast<double>(loss_2[1]);
}

// A step that is skipped changes nothing.
__device__ bool skipped(const float* clip_scale_1) {
  return clip_scale_1 != nullptr && *clip_scale_1 < 0;
}

__global__ void balance_shares_kernel(float* share_LE, const int32_t* first_LE, const float* clip_scale_1,
                                      int experts) {
  if (skipped(clip_scale_1)) return;
  const int64_t begin = int64_t{blockIdx.x} * experts;
  const double tokens = fmax(1.0, total_of(first_LE + begin, experts));
  for (int e = static_cast<int>(threadIdx.x); e < experts; e += kThreads)
    share_LE[begin + e] = static_cast<float>(first_LE[begin + e] / tokens);
}

__global__ void router_bias_kernel(float* bias_E, const int32_t* count_E, const float* clip_scale_1,
                                   int experts, float rate) {
  if (skipped(clip_scale_1)) return;
  const double all = total_of(count_E, experts);
  double sum = 0;
  for (int e = static_cast<int>(threadIdx.x); e < experts; e += kThreads) {
    const double lacks = all - static_cast<double>(experts) * count_E[e];  // than the mean, E times
    bias_E[e] += lacks > 0 ? rate : lacks < 0 ? -rate : 0.0F;
    sum += static_cast<double>(bias_E[e]);
  }
  const auto mean = static_cast<float>(block_sum(sum) / experts);
  for (int e = static_cast<int>(threadIdx.x); e < experts; e += kThreads) bias_E[e] -= mean;
}

}  // namespace

void GpuOps::sequence_loss(SequenceLoss op) {
  op.check();
  const int64_t B = op.doc_start_BT.dim(0), T = op.doc_start_BT.dim(1), E = op.probability_NE.dim(1);
  auto carving = workspace_.carve();
  const float* const slope_BE = sequence_slopes(stream_, carving, op.expert_NK, op.doc_start_BT, E);
  double* const part_B = carving.take<double>(B);
  launch(stream_, sequence_loss_kernel, {blocks(B), kThreads}, part_B, pointer<float>(op.probability_NE),
         slope_BE, T, static_cast<int>(E));
  launch(stream_, add_rows_kernel, {1, kThreads}, pointer<float>(op.loss_1), part_B, B);
}

void GpuOps::balance_sums(BalanceSums op) {
  op.check();
  launch(stream_, balance_sums_kernel, {1, kThreads}, pointer<int32_t>(op.first_E),
         pointer<double>(op.sum_E1), pointer<int32_t>(op.top1_count_E), pointer<float>(op.P_E),
         pointer<float>(op.loss_2), static_cast<int>(op.P_E.numel()));
}

void GpuOps::balance_shares(BalanceShares op) {
  op.check();
  launch(stream_, balance_shares_kernel, {blocks(op.first_LE.dim(0)), kThreads}, pointer<float>(op.share_LE),
         pointer<int32_t>(op.first_LE), pointer<float>(op.clip_scale_1),
         static_cast<int>(op.first_LE.dim(1)));
}

void GpuOps::router_bias(RouterBias op) {
  op.check();
  launch(stream_, router_bias_kernel, {1, kThreads}, pointer<float>(op.bias_E), pointer<int32_t>(op.count_E),
         pointer<float>(op.clip_scale_1), static_cast<int>(op.bias_E.numel()), op.rate);
}

}  // namespace moe::gpu
