// SPDX-License-Identifier: MIT
// The choice of experts, its two losses and their gradient: eight lanes a token. The matrix products are in
// router_logits.cu, the plan of rows in permute.cu.
#include <cfloat>
#include <cmath>

#include "gpu/block_reduce.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/portable/column_sums.cuh"

namespace moe::gpu {
namespace {

constexpr int kLanes = 8;    // of a token: a warp sums over four rows at once
constexpr int kTokens = 32;  // of a block
constexpr int kCountThreads = 1024;
constexpr int kLossTokens = 256;  // of a partial sum of the losses

// The lanes' token. Past the last one they compute that again, so that a warp stays together, and store
// nothing.
struct TokenOfLanes {
  int64_t row;
  int lane;
  bool inside, padding;

  __device__ TokenOfLanes(const int32_t* doc_start_N, int64_t n)
      : row(int64_t{blockIdx.x} * kTokens + threadIdx.x / kLanes),
        lane(static_cast<int>(threadIdx.x) % kLanes),
        inside(row < n) {
    row = min(row, n - 1);
    padding = doc_start_N[row] < 0;
  }
};

__device__ __forceinline__ float token_max(float value) {
#pragma unroll
  for (int lanes = kLanes / 2; lanes > 0; lanes /= 2)
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, lanes));
  return value;
}
__device__ __forceinline__ float token_sum(float value) {
#pragma unroll
  for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kAllLanes, value, lanes);
  return value;
}

// An expert and its logit. Larger logits come first, then lower indices; NaN counts as the lowest.
struct Candidate {
  float logit = -INFINITY;
  int expert = INT32_MAX;

  __device__ bool before(const Candidate& other) const {
    return logit > other.logit || (logit == other.logit && expert < other.expert);
  }
};

// The first candidate of the row behind `last`, for all of the token's lanes.
__device__ __forceinline__ Candidate next_best(const float* logits, int experts, int lane,
                                               const Candidate& last) {
  Candidate best;
#pragma unroll 8
  for (int e = lane; e < experts; e += kLanes) {
    const Candidate here{std::isnan(logits[e]) ? -INFINITY : logits[e], e};
    if (last.before(here) && here.before(best)) best = here;
  }
#pragma unroll
  for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) {
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

__global__ void __launch_bounds__(kTokens* kLanes)
    route_kernel(Routing out, const float* logits_NE, const int32_t* doc_start_N, int64_t n, int experts,
                 int choices, bool renormalise) {
  const TokenOfLanes token(doc_start_N, n);
  const int lane = token.lane;
  const float* const logits = logits_NE + token.row * experts;
  float top = -FLT_MAX, sum = 0;
#pragma unroll 8
  for (int e = lane; e < experts; e += kLanes) top = fmaxf(top, logits[e]);
  top = token_max(top);
#pragma unroll 8
  for (int e = lane; e < experts; e += kLanes) sum += expf(logits[e] - top);
  sum = token_sum(sum);
  const float inverse = token.padding ? 0.0F : 1.0F / sum;
  if (token.inside) {
    float* const p = out.probability_NE + token.row * experts;
#pragma unroll 8
    for (int e = lane; e < experts; e += kLanes)
      p[e] = token.padding ? 0.0F : expf(logits[e] - top) * inverse;
    if (lane == 0) out.lse_N[token.row] = token.padding ? 0.0F : top + logf(sum);
  }

  float* const weight = out.weight_NK + token.row * choices;
  int32_t* const expert = out.expert_NK + token.row * choices;
  Candidate best{INFINITY, -1};
  float total = 0;
  for (int k = 0; k < choices; ++k) {  // lane k % kLanes writes, and reads again below
    best = next_best(logits, experts, lane, best);
    const float chosen = token.padding ? 0.0F : expf(best.logit - top) * inverse;
    total += chosen;
    if (token.inside && k % kLanes == lane) weight[k] = chosen, expert[k] = token.padding ? -1 : best.expert;
  }
  if (!renormalise || !token.inside || token.padding) return;
  for (int k = lane; k < choices; k += kLanes) weight[k] /= total;
}

// *tokens = how many are not padding. One block, so as many loads under way as it can have.
__global__ void count_tokens_kernel(int* tokens, const int32_t* doc_start_N, int64_t n) {
  int count = 0;
  const int64_t quads = reinterpret_cast<uintptr_t>(doc_start_N) % 16 == 0 ? n / 4 : 0;
#pragma unroll 8
  for (int64_t i = threadIdx.x; i < quads; i += kCountThreads) {
    const auto first = load<4>(doc_start_N + 4 * i);
#pragma unroll
    for (int j = 0; j < 4; ++j) count += first.v[j] >= 0 ? 1 : 0;
  }
  for (int64_t i = 4 * quads + threadIdx.x; i < n; i += kCountThreads) count += doc_start_N[i] >= 0 ? 1 : 0;
  count = block_sum(count);
  if (threadIdx.x == 0) *tokens = count;
}

// Of kLossTokens tokens: the column sums of the probabilities, then the sum of lse^2 and the number of tokens
// that are not padding, whose rows are zero. parts: [blocks, experts + 2].
__global__ void sum_losses_kernel(float* parts, const float* probability_NE, const float* lse_N,
                                  const int32_t* doc_start_N, int64_t n, int experts) {
  const int64_t begin = int64_t{blockIdx.x} * kLossTokens, count = min(int64_t{kLossTokens}, n - begin);
  float* const part = parts + int64_t{blockIdx.x} * (experts + 2);
  for (int first = 0; first < experts; first += 32) {
    const float sum = sum_columns(probability_NE + begin * experts, count, experts, experts, first);
    const int e = first + static_cast<int>(threadIdx.x);
    if (threadIdx.x < 32 && e < experts) part[e] = sum;
  }
  const float lse = threadIdx.x < count ? lse_N[begin + threadIdx.x] : 0;
  const float squares = block_sum(lse * lse);
  const int tokens = block_sum(threadIdx.x < count && doc_start_N[begin + threadIdx.x] >= 0 ? 1 : 0);
  if (threadIdx.x == 0) part[experts] = squares, part[experts + 1] = static_cast<float>(tokens);
}

// One block.
__global__ void finish_losses_kernel(float* loss_2, float* P_E, float* f_E, const float* parts, int64_t rows,
                                     const int32_t* top1_count_E, int experts) {
  const int columns = experts + 2;
  const float tokens =
      sum_columns(parts, rows, columns, columns, experts + 1);  // in lane 0; exact: below 2^24
  const float m = fmaxf(1.0F, __shfl_sync(kAllLanes, tokens, 0));
  float balance = 0;
  for (int first = 0; first <= experts; first += 32) {
    const float sum = sum_columns(parts, rows, columns, columns, first);
    const int e = first + static_cast<int>(threadIdx.x);
    if (threadIdx.x >= 32 || e > experts) continue;
    if (e == experts) {
      loss_2[1] = sum / m;
      continue;
    }
    const float mean = sum / m, share = static_cast<float>(top1_count_E[e]) / m;
    P_E[e] = mean;
    f_E[e] = share;
    balance += mean * share;
  }
  balance = block_sum(balance);
  if (threadIdx.x == 0) loss_2[0] = static_cast<float>(experts) * balance;
}

struct RouteState {
  const float *dweight_NK, *probability_NE, *lse_N;
  const int32_t* expert_NK;
  const float *weight_NK, *f_E;
  const int32_t* doc_start_N;
};

__global__ void __launch_bounds__(kTokens* kLanes)
    backward_kernel(float* dlogits_NE, RouteState in, const float* scale_1, const int* tokens, int64_t n,
                    int experts, int choices, float balance_weight, float z_weight, bool renormalise) {
  const TokenOfLanes token(in.doc_start_N, n);
  const int lane = token.lane;
  const float* const p = in.probability_NE + token.row * experts;
  const float *const dw = in.dweight_NK + token.row * choices, *const w = in.weight_NK + token.row * choices;
  const int32_t* const chosen = in.expert_NK + token.row * choices;
  const float scale = *scale_1 / static_cast<float>(max(1, *tokens));
  const float balance = scale * balance_weight * static_cast<float>(experts), z = 2 * scale * z_weight;
  // d softmax: p_i (g_i - <g, p>), g = balance * share + the chosen experts' dweight; z adds p_i lse.
  // Renormalised weights are a softmax over the chosen logits alone, so the others feel nothing of dweight.
  float mean = 0, balance_mean = 0;
  for (int k = 0; k < choices; ++k) mean += dw[k] * w[k];
#pragma unroll 8
  for (int e = lane; e < experts; e += kLanes) balance_mean += in.f_E[e] * p[e];
  const float shared =
      z * in.lse_N[token.row] - balance * token_sum(balance_mean) - (renormalise ? 0.0F : mean);
  if (!token.inside) return;
  float* const out = dlogits_NE + token.row * experts;
#pragma unroll 8
  for (int e = lane; e < experts; e += kLanes) {
    float d = p[e] * (balance * in.f_E[e] + shared);
    for (int k = 0; k < choices; ++k)
      if (chosen[k] == e) d += w[k] * (renormalise ? dw[k] - mean : dw[k]);
    out[e] = token.padding ? 0.0F : d;
  }
}

// The number of tokens that are not padding, on the device.
const int* count_tokens(cudaStream_t stream, Workspace::Carving& carving, const Tensor& doc_start_N) {
  int* const tokens = carving.take<int>(1);
  launch(stream, count_tokens_kernel, {1, kCountThreads}, tokens, pointer<int32_t>(doc_start_N),
         doc_start_N.numel());
  return tokens;
}

}  // namespace

void GpuOps::route(Route op) {
  op.check();
  const int64_t n = op.logits_NE.dim(0);
  if (n == 0) return;
  const Routing out{pointer<float>(op.probability_NE), pointer<float>(op.lse_N),
                    pointer<int32_t>(op.expert_NK), pointer<float>(op.weight_NK)};
  launch(stream_, route_kernel, {blocks(ceil_div(n, kTokens)), kTokens * kLanes}, out,
         pointer<float>(op.logits_NE), pointer<int32_t>(op.doc_start_N), n,
         static_cast<int>(op.logits_NE.dim(1)), static_cast<int>(op.expert_NK.dim(1)), op.renormalise);
}

void GpuOps::router_losses(RouterLosses op) {
  op.check();
  const int64_t n = op.probability_NE.dim(0), rows = ceil_div(n, kLossTokens);
  const int experts = static_cast<int>(op.probability_NE.dim(1));
  CHECK(n < (1 << 24), op.probability_NE.describe());
  float* const parts = workspace_.carve().take<float>(rows * (experts + 2));
  static_assert(kLossTokens == kSumWarps * 32);
  if (rows > 0)
    launch(stream_, sum_losses_kernel, {blocks(rows), kLossTokens}, parts, pointer<float>(op.probability_NE),
           pointer<float>(op.lse_N), pointer<int32_t>(op.doc_start_N), n, experts);
  launch(stream_, finish_losses_kernel, {1, kSumWarps * 32}, pointer<float>(op.loss_2),
         pointer<float>(op.P_E), pointer<float>(op.f_E), parts, rows, pointer<int32_t>(op.top1_count_E),
         experts);
}

void GpuOps::route_backward(RouteBackward op) {
  op.check();
  const int64_t n = op.probability_NE.dim(0);
  if (n == 0) return;
  auto carving = workspace_.carve();
  const int* const tokens = count_tokens(stream_, carving, op.doc_start_N);
  const RouteState in{pointer<float>(op.dweight_NK),   pointer<float>(op.probability_NE),
                      pointer<float>(op.lse_N),        pointer<int32_t>(op.expert_NK),
                      pointer<float>(op.weight_NK),    pointer<float>(op.f_E),
                      pointer<int32_t>(op.doc_start_N)};
  launch(stream_, backward_kernel, {blocks(ceil_div(n, kTokens)), kTokens * kLanes},
         pointer<float>(op.dlogits_NE), in, pointer<float>(op.scale_1), tokens, n,
         static_cast<int>(op.probability_NE.dim(1)), static_cast<int>(op.expert_NK.dim(1)), op.balance_weight,
         op.z_weight, op.renormalise);
}

}  // namespace moe::gpu
