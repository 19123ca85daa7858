// SPDX-License-Identifier: MIT
// The choice of experts, its two losses and their gradient: eight lanes a token. The matrix products are in
// router_logits.cu, the plan of rows in permute.cu.
#include <cfloat>
#include <cmath>

#include "gpu/block_reduce.cuh"
#include "gpu/early_start.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/portable/column_sums.cuh"
#include "gpu/portable/router_products.cuh"
#include "gpu/portable/router_rows.cuh"
#include "gpu/portable/sequence.cuh"

namespace moe::gpu {
namespace {

constexpr int kCountThreads = 1024;
constexpr int kLossTokens = 256;  // of a partial sum of the losses

__device__ __forceinline__ float token_max(float value) {
#pragma unroll
  for (int lanes = kLanes / 2; lanes > 0; lanes /= 2)
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, lanes));
  return value;
}
template <class T>
__device__ __forceinline__ T token_sum(T value) {
#pragma unroll
  for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kAllLanes, value, lanes);
  return value;
}

// An expert and what it is ranked by. Larger keys come first, then lower indices; NaN counts as the lowest.
struct Candidate {
  float key = -INFINITY;
  int expert = INT32_MAX;

  __device__ bool before(const Candidate& other) const {
    return key > other.key || (key == other.key && expert < other.expert);
  }
};

__device__ __forceinline__ float logistic(float x) {
  return 1.0F / (1.0F + expf(-x));
}

// What a token's experts are worth and ranked by: the token's largest logit and its softmax's factor.
template <bool sigmoids, bool biased>
struct Scores {
  const float *logits, *bias_E;
  float top, inverse;

  __device__ float score(float logit) const {
    if constexpr (sigmoids)
      return logistic(logit);
    else
      return expf(logit - top) * inverse;
  }
  __device__ float key(int e) const {
    if constexpr (biased)
      return __fadd_rn(score(logits[e]), bias_E[e]);  // the same bits wherever it is computed again
    else
      return logits[e];
  }
  __device__ float score(const Candidate& chosen) const {
    return score(biased ? logits[chosen.expert] : chosen.key);
  }
};

// The first candidate of the row behind `last`, for all of the token's lanes.
template <class Scores>
__device__ __forceinline__ Candidate next_best(const Scores& scores, int experts, int lane,
                                               const Candidate& last) {
  Candidate best;
#pragma unroll 8
  for (int e = lane; e < experts; e += kLanes) {
    const float key = scores.key(e);
    const Candidate here{std::isnan(key) ? -INFINITY : key, e};
    if (last.before(here) && here.before(best)) best = here;
  }
#pragma unroll
  for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) {
    const Candidate other{__shfl_xor_sync(kAllLanes, best.key, lanes),
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

// A sum of the token's sigmoids that may be divided by.
__device__ __forceinline__ float sum_of_sigmoids(const float* logits, int experts, int lane) {
  float sum = 0;
#pragma unroll 8
  for (int e = lane; e < experts; e += kLanes) sum += logistic(logits[e]);
  return token_sum(sum) + RouterRule::kLeastSum;
}

template <bool sigmoids, bool biased, class Logits>
__global__ void __launch_bounds__(kTokens* kLanes)
    route_kernel(Routing out, Logits source, const float* bias_E, const int32_t* doc_start_N, int64_t n,
                 int experts, int choices, RouterRule rule) {
  let_next_kernel_start();
  wait_for_earlier_kernels();
  const TokenOfLanes token(doc_start_N, n);
  const int lane = token.lane;
  const float* const logits = source.row_of(token, n, experts);
  float top = -FLT_MAX, sum = 0;
#pragma unroll 8
  for (int e = lane; e < experts; e += kLanes) top = fmaxf(top, logits[e]);
  top = token_max(top);
#pragma unroll 8
  for (int e = lane; e < experts; e += kLanes) sum += expf(logits[e] - top);
  sum = token_sum(sum);
  const float inverse = token.padding ? 0.0F : 1.0F / sum;
  const Scores<sigmoids, biased> scores{logits, bias_E, top, inverse};
  float share = 1;  // of the scores' sum, a softmax's is 1
  if constexpr (sigmoids) share = 1.0F / sum_of_sigmoids(logits, experts, lane);
  if (token.inside) {
    float* const p = out.probability_NE + token.row * experts;
#pragma unroll 8
    for (int e = lane; e < experts; e += kLanes) {
      const float score = scores.score(logits[e]);
      p[e] = token.padding ? 0.0F : sigmoids ? score * share : score;
    }
    if (lane == 0) out.lse_N[token.row] = token.padding ? 0.0F : top + logf(sum);
  }

  float* const weight = out.weight_NK + token.row * choices;
  int32_t* const expert = out.expert_NK + token.row * choices;
  Candidate best{INFINITY, -1};
  float total = sigmoids ? RouterRule::kLeastSum : 0.0F;
  for (int k = 0; k < choices; ++k) {  // lane k % kLanes writes, and reads again below
    best = next_best(scores, experts, lane, best);
    const float chosen = token.padding ? 0.0F : scores.score(best);
    total += chosen;
    if (token.inside && k % kLanes == lane) weight[k] = chosen, expert[k] = token.padding ? -1 : best.expert;
  }
  if ((!rule.renormalise && rule.scale == 1) || !token.inside || token.padding) return;
  const float divisor = rule.renormalise ? total : 1.0F;
  for (int k = lane; k < choices; k += kLanes) weight[k] = weight[k] / divisor * rule.scale;
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
  const float *dweight_NK, *logits_NE, *probability_NE, *lse_N;
  const int32_t* expert_NK;
  const float *weight_NK, *f_E;
  const int32_t* doc_start_N;
  const float* slope_BE;  // of the sequence loss; null without
  int64_t T;              // tokens of its rows
};
struct LossWeights {
  float balance, z, sequence;
};

// The lanes' token in route_backward. sequences: with the sequence loss.
template <bool sequences>
struct RoutedToken {
  const float *logits, *p, *dw, *w, *f_E, *slope;
  const int32_t* chosen;
  float lse, mean;                 // mean: <dweight, weight>
  float balance, z, sequence;      // factors of the losses
  float balance_mean, slope_mean;  // <f, p>, <slope, p>

  __device__ RoutedToken(const RouteState& in, const LossWeights& weights, const TokenOfLanes& token,
                         float scale_1, int tokens, int experts, int choices)
      : logits(in.logits_NE == nullptr ? nullptr : in.logits_NE + token.row * experts),
        p(in.probability_NE + token.row * experts),
        dw(in.dweight_NK + token.row * choices),
        w(in.weight_NK + token.row * choices),
        f_E(in.f_E),
        slope(sequences ? in.slope_BE + token.row / in.T * experts : nullptr),
        chosen(in.expert_NK + token.row * choices),
        lse(in.lse_N[token.row]),
        mean(0),
        sequence(scale_1 * weights.sequence),
        balance_mean(0),
        slope_mean(0) {
    const float scale = scale_1 / static_cast<float>(max(1, tokens));
    balance = scale * weights.balance * static_cast<float>(experts), z = 2 * scale * weights.z;
    for (int k = 0; k < choices; ++k) mean += dw[k] * w[k];
#pragma unroll 8
    for (int e = token.lane; e < experts; e += kLanes) balance_mean += f_E[e] * p[e];
    balance_mean = token_sum(balance_mean);
    if constexpr (sequences) {
      for (int e = token.lane; e < experts; e += kLanes) slope_mean += slope[e] * p[e];
      slope_mean = token_sum(slope_mean);
    }
  }
};

// d softmax: p_i (g_i - <g, p>), g = balance * share + the chosen experts' dweight; z adds p_i lse.
// Renormalised weights are a softmax over the chosen logits alone, so the others feel nothing of dweight.
template <bool sequences>
__device__ void softmax_backward(float* out, const RoutedToken<sequences>& t, int lane, int experts,
                                 int choices, const RouterRule& rule) {
  const float own = rule.renormalise ? t.mean / rule.scale : 0.0F;
  const float shared = t.z * t.lse - t.balance * t.balance_mean - (rule.renormalise ? 0.0F : t.mean);
#pragma unroll 8
  for (int e = lane; e < experts; e += kLanes) {
    float d = t.p[e] * (t.balance * t.f_E[e] + shared);
    for (int k = 0; k < choices; ++k)
      if (t.chosen[k] == e) d += t.w[k] * (t.dw[k] - own);
    if constexpr (sequences) d += t.sequence * t.p[e] * (t.slope[e] - t.slope_mean);
    out[e] = d;
  }
}

// s = sigmoid(logit), S their sum, p = s / S: d p is (g_i - <g, p>) / S for each s_i, and d s is s (1 - s).
template <bool sequences>
__device__ void sigmoid_score_backward(float* out, const RoutedToken<sequences>& t, float inverse, int lane,
                                       int experts, int choices, const RouterRule& rule) {
  float sum = RouterRule::kLeastSum;
  for (int k = 0; k < choices; ++k)
    if (t.chosen[k] >= 0) sum += logistic(t.logits[t.chosen[k]]);
#pragma unroll 4
  for (int e = lane; e < experts; e += kLanes) {
    const float logit = t.logits[e], turn = logistic(logit) * logistic(-logit);  // 1 - s keeps its bits
    float g = t.balance * (t.f_E[e] - t.balance_mean);
    if constexpr (sequences) g += t.sequence * (t.slope[e] - t.slope_mean);
    float d = turn * inverse * g + t.z * t.lse * expf(logit - t.lse);
    for (int k = 0; k < choices; ++k) {
      const float scaled = rule.scale * t.dw[k];
      if (t.chosen[k] == e) d += turn * (rule.renormalise ? (scaled - t.mean) / sum : scaled);
    }
    out[e] = d;
  }
}

// The number of tokens that are not padding, as addends on the device.
struct TokenCount {
  const int32_t* addends;
  int count;
};

template <bool sigmoids, bool sequences, class Gradients>
__global__ void __launch_bounds__(kTokens* kLanes)
    backward_kernel(Gradients gradients, RouteState in, const float* scale_1, TokenCount count, int64_t n,
                    int experts, int choices, LossWeights weights, RouterRule rule) {
  const TokenOfLanes token(in.doc_start_N, n);
  const int lane = token.lane;
  int tokens = 0;
  for (int i = lane; i < count.count; i += kLanes) tokens += count.addends[i];
  const RoutedToken<sequences> routed(in, weights, token, *scale_1, token_sum(tokens), experts, choices);
  float inverse = 1;
  if constexpr (sigmoids) inverse = 1.0F / sum_of_sigmoids(routed.logits, experts, lane);
  float* const out = gradients.row_of(token, experts);
  if (token.inside && token.padding) {
    for (int e = lane; e < experts; e += kLanes) out[e] = 0;
  } else if (token.inside) {
    if constexpr (sigmoids)
      sigmoid_score_backward(out, routed, inverse, lane, experts, choices, rule);
    else
      softmax_backward(out, routed, lane, experts, choices, rule);
  }
  gradients.finish(n, experts);
}

// Of the kernels that have rows in shared memory.
size_t shared_of_rows(int64_t experts) {
  return static_cast<size_t>(kTokens * (experts + kRowPad)) * sizeof(float);
}

template <class Logits>
void launch_route(cudaStream_t stream, Route& op, const Logits& logits, size_t shared) {
  const int64_t n = op.logits_NE.dim(0);
  const Routing out{pointer<float>(op.probability_NE), pointer<float>(op.lse_N),
                    pointer<int32_t>(op.expert_NK), pointer<float>(op.weight_NK)};
  const bool sigmoids = op.rule.score == RouterScore::sigmoid, biased = !op.bias_E.empty();
  const auto kernel = sigmoids
                          ? (biased ? route_kernel<true, true, Logits> : route_kernel<true, false, Logits>)
                          : (biased ? route_kernel<false, true, Logits> : route_kernel<false, false, Logits>);
  launch_early(stream, kernel, {blocks(ceil_div(n, kTokens)), kTokens * kLanes, shared}, out, logits,
               pointer<float>(op.bias_E), pointer<int32_t>(op.doc_start_N), n,
               static_cast<int>(op.logits_NE.dim(1)), static_cast<int>(op.expert_NK.dim(1)), op.rule);
}

template <class Gradients>
void launch_backward(cudaStream_t stream, Workspace::Carving& carving, RouteBackward& op,
                     const Gradients& gradients, const TokenCount& count, size_t shared) {
  const int64_t n = op.probability_NE.dim(0), E = op.probability_NE.dim(1);
  const bool sigmoids = op.rule.score == RouterScore::sigmoid, sequences = op.sequence_weight != 0;
  const RouteState in{
      .dweight_NK = pointer<float>(op.dweight_NK),
      .logits_NE = pointer<float>(op.logits_NE),
      .probability_NE = pointer<float>(op.probability_NE),
      .lse_N = pointer<float>(op.lse_N),
      .expert_NK = pointer<int32_t>(op.expert_NK),
      .weight_NK = pointer<float>(op.weight_NK),
      .f_E = pointer<float>(op.f_E),
      .doc_start_N = pointer<int32_t>(op.doc_start_N),
      .slope_BE = sequences ? sequence_slopes(stream, carving, op.expert_NK, op.doc_start_N, E) : nullptr,
      .T = sequences ? op.doc_start_N.dim(1) : 1};
  const auto kernel =
      sigmoids
          ? (sequences ? backward_kernel<true, true, Gradients> : backward_kernel<true, false, Gradients>)
          : (sequences ? backward_kernel<false, true, Gradients> : backward_kernel<false, false, Gradients>);
  launch(stream, kernel, {blocks(ceil_div(n, kTokens)), kTokens * kLanes, shared}, gradients, in,
         pointer<float>(op.scale_1), count, n, static_cast<int>(E), static_cast<int>(op.expert_NK.dim(1)),
         LossWeights{op.balance_weight, op.z_weight, op.sequence_weight}, op.rule);
}

}  // namespace

void GpuOps::route(Route op) {
  op.check();
  if (op.logits_NE.dim(0) > 0) launch_route(stream_, op, LogitsInMemory{pointer<float>(op.logits_NE)}, 0);
}

void GpuOps::router_forward(RouterForward op) {
  op.check();
  const size_t shared = shared_of_rows(op.logits.w_ED.dim(0));
  if (op.logits.x_ND.dim(0) == 0 || !splits(op.logits.x_ND, op.logits.w_ED) || shared > shared_of_block_)
    return Ops::router_forward(op);
  with_half(op.logits.x_ND.dtype(), [&]<class T>() {
    auto carving = workspace_.carve();
    const float* const parts = logits_in_parts<T>(stream_, carving, gemm_, op.logits);
    float* const kept = op.keep_logits ? pointer<float>(op.logits.logits_NE) : nullptr;
    launch_route(stream_, op.route, LogitsInParts<T>{parts, kept}, shared);
  });
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
  if (op.probability_NE.dim(0) == 0) return;
  auto carving = workspace_.carve();
  int* const tokens = carving.take<int>(1);
  launch(stream_, count_tokens_kernel, {1, kCountThreads}, tokens, pointer<int32_t>(op.doc_start_N),
         op.doc_start_N.numel());
  launch_backward(stream_, carving, op, GradientsInMemory{pointer<float>(op.dlogits_NE)}, {tokens, 1}, 0);
}

void GpuOps::router_backward(RouterBackward op) {
  op.check();
  const int64_t n = op.logits.x_ND.dim(0), e = op.logits.w_ED.dim(0);
  const size_t shared = shared_of_rows(e);
  if (n == 0 || !splits(op.logits.x_ND, op.logits.w_ED) || shared > shared_of_block_)
    return Ops::router_backward(op);
  with_half(op.logits.x_ND.dtype(), [&]<class T>() {
    auto carving = workspace_.carve();
    T* const dlogits = carving.take<T>(n * kParts * e);
    launch_backward(stream_, carving, op.route, GradientsInParts<T>{dlogits},
                    {pointer<int32_t>(op.top1_count_E), static_cast<int>(e)}, shared);
    multiply_parts(stream_, carving, gemm_, dlogits, op.logits);
  });
}

}  // namespace moe::gpu
