// SPDX-License-Identifier: MIT
// The choice of experts, its two losses and their gradient: a warp a token. The matrix products are in
// router_logits.cu, the plan of rows in permute.cu.
#include "ops/contracts/router.h"

#include <cfloat>
#include <cmath>

#include "gpu/block_reduce.cuh"
#include "gpu/column_sums.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"

namespace moe::gpu {
namespace {

constexpr int kWarps = 4;  // tokens of a block
constexpr int kCountThreads = 1024;
constexpr int kLossTokens = 256;  // of a partial sum of the losses

__device__ __forceinline__ int64_t token_of_warp() {
  return int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
}
__device__ __forceinline__ int lane_of_warp() {
  return static_cast<int>(threadIdx.x) % 32;
}

// An expert and its logit. Larger logits come first, then lower indices; NaN counts as the lowest.
struct Candidate {
  float logit = -INFINITY;
  int expert = INT32_MAX;

  __device__ bool before(const Candidate& other) const {
    return logit > other.logit || (logit == other.logit && expert < other.expert);
  }
};

// The first candidate of the row behind `last`, for all lanes.
__device__ __forceinline__ Candidate next_best(const float* logits, int experts, const Candidate& last) {
  Candidate best;
  for (int e = lane_of_warp(); e < experts; e += 32) {
    const Candidate here{std::isnan(logits[e]) ? -INFINITY : logits[e], e};
    if (last.before(here) && here.before(best)) best = here;
  }
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const Candidate other{__shfl_xor_sync(kAllLanes, best.logit, lanes),
                          __shfl_xor_sync(kAllLanes, best.expert, lanes)};
    if (other.before(best)) best = other;
  }
  return best;
}

struct Routing {
  float *probability_NE, *lse_N;
  int32_t* expert_NK;
  float* weight_NK;
};

__global__ void route_kernel(Routing out, const float* logits_NE, const int32_t* first_N, int64_t n,
                             int experts, int choices, bool renormalise) {
  const int64_t token = token_of_warp();
  if (token >= n) return;
  const int lane = lane_of_warp();
  const float* const logits = logits_NE + token * experts;
  float *const p = out.probability_NE + token * experts, *const weight = out.weight_NK + token * choices;
  int32_t* const expert = out.expert_NK + token * choices;
  if (first_N[token] < 0) {
    for (int e = lane; e < experts; e += 32) p[e] = 0;
    for (int k = lane; k < choices; k += 32) weight[k] = 0, expert[k] = -1;
    if (lane == 0) out.lse_N[token] = 0;
    return;
  }
  float top = -FLT_MAX, sum = 0;
  for (int e = lane; e < experts; e += 32) top = fmaxf(top, logits[e]);
  top = warp_max(top);
  for (int e = lane; e < experts; e += 32) sum += expf(logits[e] - top);
  sum = warp_sum(sum);
  const float inverse = 1.0F / sum;
  for (int e = lane; e < experts; e += 32) p[e] = expf(logits[e] - top) * inverse;
  if (lane == 0) out.lse_N[token] = top + logf(sum);

  Candidate best{INFINITY, -1};
  float total = 0;
  for (int k = 0; k < choices; ++k) {  // lane k % 32 writes, and reads again below
    best = next_best(logits, experts, best);
    const float chosen = expf(logits[best.expert] - top) * inverse;
    total += chosen;
    if (k % 32 == lane) weight[k] = chosen, expert[k] = best.expert;
  }
  for (int k = lane; renormalise && k < choices; k += 32) weight[k] /= total;
}

// *tokens = how many are not padding. One block, so as many loads under way as it can have.
__global__ void count_tokens_kernel(int* tokens, const int32_t* first_N, int64_t n) {
  int count = 0;
  const int64_t quads = reinterpret_cast<uintptr_t>(first_N) % 16 == 0 ? n / 4 : 0;
#pragma unroll 8
  for (int64_t i = threadIdx.x; i < quads; i += kCountThreads) {
    const auto first = load<4>(first_N + 4 * i);
#pragma unroll
    for (int j = 0; j < 4; ++j) count += first.v[j] >= 0 ? 1 : 0;
  }
  for (int64_t i = 4 * quads + threadIdx.x; i < n; i += kCountThreads) count += first_N[i] >= 0 ? 1 : 0;
  count = block_sum(count);
  if (threadIdx.x == 0) *tokens = count;
}

// Of kLossTokens tokens: the column sums of the probabilities, then the sum of lse^2 and the number of tokens that are not
// padding, whose rows are zero. parts: [blocks, experts + 2].
__global__ void sum_losses_kernel(float* parts, const float* probability_NE, const float* lse_N,
                                  const int32_t* first_N, int64_t n, int experts) {
  const int64_t begin = int64_t{blockIdx.x} * kLossTokens, count = min(int64_t{kLossTokens}, n - begin);
  float* const part = parts + int64_t{blockIdx.x} * (experts + 2);
  for (int first = 0; first < experts; first += 32) {
    const float sum = sum_columns(probability_NE + begin * experts, count, experts, experts, first);
    if (threadIdx.x < 32 && first + lane_of_warp() < experts) part[first + lane_of_warp()] = sum;
  }
  const float lse = threadIdx.x < count ? lse_N[begin + threadIdx.x] : 0;
  const float squares = block_sum(lse * lse);
  const int tokens = block_sum(threadIdx.x < count && first_N[begin + threadIdx.x] >= 0 ? 1 : 0);
  if (threadIdx.x == 0) part[experts] = squares, part[experts + 1] = static_cast<float>(tokens);
}

// One block.
__global__ void finish_losses_kernel(float* loss_2, float* mean_E, float* share_E, const float* parts,
                                     int64_t rows, const int32_t* first_E, int experts) {
  const int columns = experts + 2;
  const float tokens =
      sum_columns(parts, rows, columns, columns, experts + 1);  // in lane 0; exact: below 2^24
  const float m = fmaxf(1.0F, __shfl_sync(kAllLanes, tokens, 0));
  float balance = 0;
  for (int first = 0; first <= experts; first += 32) {
    const float sum = sum_columns(parts, rows, columns, columns, first);
    const int e = first + lane_of_warp();
    if (threadIdx.x >= 32 || e > experts) continue;
    if (e == experts) {
      loss_2[1] = sum / m;
      continue;
    }
    const float mean = sum / m, share = static_cast<float>(first_E[e]) / m;
    mean_E[e] = mean;
    share_E[e] = share;
    balance += mean * share;
  }
  balance = block_sum(balance);
  if (threadIdx.x == 0) loss_2[0] = static_cast<float>(experts) * balance;
}

struct RouteState {
  const float *dweight_NK, *probability_NE, *lse_N;
  const int32_t* expert_NK;
  const float *weight_NK, *share_E;
  const int32_t* first_N;
};

__global__ void backward_kernel(float* dlogits_NE, RouteState in, const float* scale_1, const int* tokens,
                                int64_t n, int experts, int choices, float balance_weight, float z_weight,
                                bool renormalise) {
  const int64_t token = token_of_warp();
  if (token >= n) return;
  const int lane = lane_of_warp();
  float* const out = dlogits_NE + token * experts;
  if (in.first_N[token] < 0) {
    for (int e = lane; e < experts; e += 32) out[e] = 0;
    return;
  }
  const float* const p = in.probability_NE + token * experts;
  const float *const dw = in.dweight_NK + token * choices, *const w = in.weight_NK + token * choices;
  const int32_t* const chosen = in.expert_NK + token * choices;
  const float scale = *scale_1 / static_cast<float>(max(1, *tokens));
  const float balance = scale * balance_weight * static_cast<float>(experts), z = 2 * scale * z_weight;
  // d softmax: p_i (g_i - <g, p>), g = balance * share + the chosen experts' dweight; z adds p_i lse. Renormalised
  // weights are a softmax over the chosen logits alone, so the others feel nothing of dweight.
  float mean = 0, balance_mean = 0;
  for (int k = 0; k < choices; ++k) mean += dw[k] * w[k];
  for (int e = lane; e < experts; e += 32) balance_mean += in.share_E[e] * p[e];
  const float shared = z * in.lse_N[token] - balance * warp_sum(balance_mean) - (renormalise ? 0.0F : mean);
  for (int e = lane; e < experts; e += 32) {
    float d = p[e] * (balance * in.share_E[e] + shared);
    for (int k = 0; k < choices; ++k)
      if (chosen[k] == e) d += w[k] * (renormalise ? dw[k] - mean : dw[k]);
    out[e] = d;
  }
}

// The number of tokens that are not padding, on the device.
const int* count_tokens(cudaStream_t stream, Workspace::Carving& carving, const Tensor& first_N) {
  int* const tokens = carving.take<int>(1);
  launch(stream, count_tokens_kernel, {1, kCountThreads}, tokens, pointer<int32_t>(first_N), first_N.numel());
  return tokens;
}

}  // namespace

void GpuOps::route(Tensor probability_NE, Tensor lse_N, Tensor expert_NK, Tensor weight_NK,
                   const Tensor& logits_NE, const Tensor& first_N, bool renormalise) {
  contracts::check_route(probability_NE, lse_N, expert_NK, weight_NK, logits_NE, first_N);
  const int64_t n = logits_NE.dim(0);
  if (n == 0) return;
  const Routing out{pointer<float>(probability_NE), pointer<float>(lse_N), pointer<int32_t>(expert_NK),
                    pointer<float>(weight_NK)};
  launch(stream_, route_kernel, {blocks(ceil_div(n, kWarps)), kWarps * 32}, out, pointer<float>(logits_NE),
         pointer<int32_t>(first_N), n, static_cast<int>(logits_NE.dim(1)), static_cast<int>(expert_NK.dim(1)),
         renormalise);
}

void GpuOps::router_losses(Tensor loss_2, Tensor mean_E, Tensor share_E, const Tensor& probability_NE,
                           const Tensor& lse_N, const Tensor& first_E, const Tensor& first_N) {
  contracts::check_router_losses(loss_2, mean_E, share_E, probability_NE, lse_N, first_E, first_N);
  const int64_t n = probability_NE.dim(0), rows = ceil_div(n, kLossTokens);
  const int experts = static_cast<int>(probability_NE.dim(1));
  CHECK(n < (1 << 24), probability_NE.describe());
  float* const parts = workspace_.carve().take<float>(rows * (experts + 2));
  static_assert(kLossTokens == kSumWarps * 32);
  if (rows > 0)
    launch(stream_, sum_losses_kernel, {blocks(rows), kLossTokens}, parts, pointer<float>(probability_NE),
           pointer<float>(lse_N), pointer<int32_t>(first_N), n, experts);
  launch(stream_, finish_losses_kernel, {1, kSumWarps * 32}, pointer<float>(loss_2), pointer<float>(mean_E),
         pointer<float>(share_E), parts, rows, pointer<int32_t>(first_E), experts);
}

void GpuOps::route_backward(Tensor dlogits_NE, const Tensor& dweight_NK, const Tensor& probability_NE,
                            const Tensor& lse_N, const Tensor& expert_NK, const Tensor& weight_NK,
                            const Tensor& share_E, const Tensor& first_N, const Tensor& scale_1,
                            float balance_weight, float z_weight, bool renormalise) {
  contracts::check_route_backward(dlogits_NE, dweight_NK, probability_NE, lse_N, expert_NK, weight_NK,
                                  share_E, first_N, scale_1);
  const int64_t n = probability_NE.dim(0);
  if (n == 0) return;
  auto carving = workspace_.carve();
  const int* const tokens = count_tokens(stream_, carving, first_N);
  const RouteState in{pointer<float>(dweight_NK),  pointer<float>(probability_NE), pointer<float>(lse_N),
                      pointer<int32_t>(expert_NK), pointer<float>(weight_NK),      pointer<float>(share_E),
                      pointer<int32_t>(first_N)};
  launch(stream_, backward_kernel, {blocks(ceil_div(n, kWarps)), kWarps * 32}, pointer<float>(dlogits_NE), in,
         pointer<float>(scale_1), tokens, n, static_cast<int>(probability_NE.dim(1)),
         static_cast<int>(expert_NK.dim(1)), balance_weight, z_weight, renormalise);
}

}  // namespace moe::gpu
