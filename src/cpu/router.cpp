// SPDX-License-Identifier: MIT
// The choice of experts, its two losses and their gradient. The matrix products are in router_logits.cpp.
#include <algorithm>
#include <cmath>

#include "cpu/cpu_ops.h"
#include "cpu/partial_sums.h"
#include "cpu/sequence.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

constexpr int64_t kTokens = 64;
constexpr int64_t kLossTokens = 256;  // per partial sum of the losses

int64_t count_tokens(const Tensor& doc_start_N) {
  return cpu::count_tokens(doc_start_N.as<int32_t>(), doc_start_N.numel());
}

// p = softmax(logits); returns log sum exp.
float softmax_row(float* __restrict p, const float* __restrict logits, int64_t e) {
  const float top = max_of(logits, e);
  for (int64_t i = 0; i < e; ++i) p[i] = exp_approx(logits[i] - top);
  const float sum = sum_of(e, [=](int64_t i) { return p[i]; });
  const float inverse = 1.0F / sum;
  for (int64_t i = 0; i < e; ++i) p[i] *= inverse;
  return top + std::log(sum);
}

// score = sigmoid(logits). Returns a sum that may be divided by.
float sigmoid_row(float* __restrict score, const float* __restrict logits, int64_t e) {
  for (int64_t i = 0; i < e; ++i) score[i] = sigmoid(logits[i]);
  return sum_of(e, [=](int64_t i) { return score[i]; }) + RouterRule::kLeastSum;
}

// The k largest of e values in descending order, by insertion: an equal value never overtakes an earlier one,
// so ties go to the lower index, and k different experts come out even when values are NaN.
void largest(int32_t* expert, const float* value, int64_t e, int64_t k) {
  int64_t filled = 0;
  for (int32_t i = 0; i < e; ++i) {
    if (filled == k && !(value[i] > value[expert[k - 1]])) continue;
    int64_t at = filled < k ? filled++ : k - 1;
    for (; at > 0 && value[i] > value[expert[at - 1]]; --at) expert[at] = expert[at - 1];
    expert[at] = i;
  }
}

// A token as route() leaves it, and the gradient of its weights.
struct RoutedToken {
  int64_t e, k;
  const float *logits, *p, *weight, *dweight;
  const int32_t* chosen;
  float lse;
  float chosen_mean() const {  // <dweight, weight>
    float mean = 0;
    for (int64_t j = 0; j < k; ++j) mean += dweight[j] * weight[j];
    return mean;
  }
};

// The losses' factors, and their gradient by a probability. slope: of the sequence loss; null without.
struct LossGradient {
  float balance, z, sequence;
  const float *share, *slope;
};

// d softmax: p_i (g_i - <g, p>), g = balance * share + the chosen experts' dweight; z adds p_i lse.
void softmax_backward(float* __restrict out, const RoutedToken& token, const LossGradient& loss,
                      const RouterRule& rule) {
  const int64_t e = token.e;
  const float* __restrict p = token.p;
  const float* const share = loss.share;
  const float balance = loss.balance, z = loss.z, mean = token.chosen_mean();
  // Renormalised weights are a softmax over the chosen logits alone, so others feel nothing of dweight.
  const float others = rule.renormalise ? 0.0F : mean, own = rule.renormalise ? mean / rule.scale : 0.0F;
  const float shared = z * token.lse - balance * dot(share, p, e) - others;
  for (int64_t i = 0; i < e; ++i) out[i] = p[i] * (balance * share[i] + shared);
  for (int64_t j = 0; j < token.k; ++j) out[token.chosen[j]] += token.weight[j] * (token.dweight[j] - own);
  if (loss.slope == nullptr) return;
  const float at = dot(loss.slope, p, e);
  for (int64_t i = 0; i < e; ++i) out[i] += loss.sequence * p[i] * (loss.slope[i] - at);
}

// s = sigmoid(logit), S their sum, p = s / S: d p is (g_i - <g, p>) / S for each s_i, and d s is s (1 - s).
// score: e floats to work with.
void sigmoid_score_backward(float* __restrict out, float* __restrict score, const RoutedToken& token,
                            const LossGradient& loss, const RouterRule& rule) {
  const int64_t e = token.e, k = token.k;
  const float* const logits = token.logits;
  const float inverse = 1.0F / sigmoid_row(score, logits, e), mean = token.chosen_mean();
  const float balance_at = loss.balance * dot(loss.share, token.p, e);
  const float sequence_at = loss.slope == nullptr ? 0.0F : loss.sequence * dot(loss.slope, token.p, e);
  float sum = RouterRule::kLeastSum;
  for (int64_t j = 0; j < k; ++j) sum += score[token.chosen[j]];
  for (int64_t i = 0; i < e; ++i) {
    float g = loss.balance * loss.share[i] - balance_at;
    if (loss.slope != nullptr) g += loss.sequence * loss.slope[i] - sequence_at;
    score[i] *= sigmoid(-logits[i]);  // 1 - s, without the rounding of s
    out[i] = score[i] * inverse * g + loss.z * token.lse * exp_approx(logits[i] - token.lse);
  }
  for (int64_t j = 0; j < k; ++j) {
    const float scaled = rule.scale * token.dweight[j];
    out[token.chosen[j]] += score[token.chosen[j]] * (rule.renormalise ? (scaled - mean) / sum : scaled);
  }
}

}  // namespace

void CpuOps::route(Route op) {
  op.check();
  const int64_t n = op.logits_NE.dim(0), e = op.logits_NE.dim(1), k = op.expert_NK.dim(1);
  float *probability = op.probability_NE.as<float>(), *lse = op.lse_N.as<float>(),
        *weight = op.weight_NK.as<float>();
  int32_t* expert = op.expert_NK.as<int32_t>();
  const float* logits = op.logits_NE.as<float>();
  const float* const bias = op.bias_E.empty() ? nullptr : op.bias_E.as<float>();
  const int32_t* first = op.doc_start_N.as<int32_t>();
  const bool sigmoids = op.rule.score == RouterScore::sigmoid;
  pool_.parallel_for(n, kTokens, [&](int64_t begin, int64_t end) {
    auto lease = scratch_.borrow(2 * Scratch::padded<float>(e));
    float *const sigmoid_E = lease.take<float>(e), *const biased_E = lease.take<float>(e);
    for (int64_t t = begin; t < end; ++t) {
      float *p = probability + t * e, *w = weight + t * k;
      int32_t* chosen = expert + t * k;
      if (first[t] < 0) {
        std::fill(p, p + e, 0.0F);
        std::fill(w, w + k, 0.0F);
        std::fill(chosen, chosen + k, -1);
        lse[t] = 0;
        continue;
      }
      lse[t] = softmax_row(p, logits + t * e, e);
      const float* const score = sigmoids ? sigmoid_E : p;
      if (sigmoids) {
        const float inverse = 1.0F / sigmoid_row(sigmoid_E, logits + t * e, e);
        for (int64_t i = 0; i < e; ++i) p[i] = sigmoid_E[i] * inverse;
      }
      if (bias != nullptr)
        for (int64_t i = 0; i < e; ++i) biased_E[i] = score[i] + bias[i];
      // By logits, not scores: the same order, but not hostage to the last bit of exp.
      largest(chosen, bias == nullptr ? logits + t * e : biased_E, e, k);
      float sum = sigmoids ? RouterRule::kLeastSum : 0.0F;
      for (int64_t j = 0; j < k; ++j) sum += score[chosen[j]];
      const float divisor = op.rule.renormalise ? sum : 1.0F;
      for (int64_t j = 0; j < k; ++j) w[j] = score[chosen[j]] / divisor * op.rule.scale;
    }
  });
}

void CpuOps::router_losses(RouterLosses op) {
  op.check();
  const int64_t n = op.probability_NE.dim(0), e = op.probability_NE.dim(1), width = e + 1;
  const float *probability = op.probability_NE.as<float>(), *lse = op.lse_N.as<float>();
  // Column sums of the probabilities, and in the last column of lse^2; zero rows of padding add nothing.
  PartialSums partial(pool_, scratch_, n, kLossTokens, width);
  partial.for_each_block([&](float* sum, int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* p = probability + t * e;
      for (int64_t i = 0; i < e; ++i) sum[i] += p[i];
      sum[e] += lse[t] * lse[t];
    }
  });
  float *loss = op.loss_2.as<float>(), *mean = op.P_E.as<float>(), *share = op.f_E.as<float>();
  std::fill(mean, mean + e, 0.0F);
  loss[0] = loss[1] = 0;
  partial.add_to(mean, 0, e);
  partial.add_to(loss + 1, e, 1);
  const int32_t* first = op.top1_count_E.as<int32_t>();
  const double tokens = static_cast<double>(std::max<int64_t>(1, count_tokens(op.doc_start_N)));
  double balance = 0;
  for (int64_t i = 0; i < e; ++i) {
    mean[i] = static_cast<float>(mean[i] / tokens);
    share[i] = static_cast<float>(first[i] / tokens);
    balance += static_cast<double>(mean[i]) * static_cast<double>(share[i]);
  }
  loss[0] = static_cast<float>(static_cast<double>(e) * balance);
  loss[1] = static_cast<float>(loss[1] / tokens);
}

void CpuOps::route_backward(RouteBackward op) {
  op.check();
  const int64_t n = op.probability_NE.dim(0), e = op.probability_NE.dim(1), k = op.expert_NK.dim(1);
  const float *probability = op.probability_NE.as<float>(), *lse = op.lse_N.as<float>(),
              *share = op.f_E.as<float>();
  const float *dweight = op.dweight_NK.as<float>(), *weight = op.weight_NK.as<float>();
  const int32_t *expert = op.expert_NK.as<int32_t>(), *first = op.doc_start_N.as<int32_t>();
  const bool sigmoids = op.rule.score == RouterScore::sigmoid, sequences = op.sequence_weight != 0;
  const float* const logits = sigmoids ? op.logits_NE.as<float>() : nullptr;
  const int64_t B = sequences ? op.doc_start_N.dim(0) : 0, T = sequences ? op.doc_start_N.dim(1) : 1;
  auto slopes = scratch_.borrow(Scratch::padded<float>(B * e));
  float* const slope_BE = slopes.take<float>(B * e);
  if (sequences) sequence_slopes(pool_, slope_BE, op.expert_NK, op.doc_start_N, e);
  const float one = op.scale_1.as<float>()[0];
  const float scale = one / static_cast<float>(std::max<int64_t>(1, count_tokens(op.doc_start_N)));
  const float balance = scale * op.balance_weight * static_cast<float>(e), z = 2 * scale * op.z_weight;
  float* dlogits = op.dlogits_NE.as<float>();
  pool_.parallel_for(n, kTokens, [&](int64_t begin, int64_t end) {
    auto lease = scratch_.borrow(Scratch::padded<float>(e));
    float* const score_E = lease.take<float>(e);
    for (int64_t t = begin; t < end; ++t) {
      float* out = dlogits + t * e;
      if (first[t] < 0) {
        std::fill(out, out + e, 0.0F);
        continue;
      }
      const RoutedToken token{e,
                              k,
                              sigmoids ? logits + t * e : nullptr,
                              probability + t * e,
                              weight + t * k,
                              dweight + t * k,
                              expert + t * k,
                              lse[t]};
      const LossGradient loss{balance, z, one * op.sequence_weight, share,
                              sequences ? slope_BE + t / T * e : nullptr};
      if (sigmoids)
        sigmoid_score_backward(out, score_E, token, loss, op.rule);
      else
        softmax_backward(out, token, loss, op.rule);
    }
  });
}

}  // namespace moe::cpu
