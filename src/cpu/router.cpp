// SPDX-License-Identifier: MIT
// The choice of experts, its two losses and their gradient. The matrix products are in router_logits.cpp.
#include <algorithm>
#include <cmath>

#include "cpu/cpu_ops.h"
#include "cpu/partial_sums.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

constexpr int64_t kTokens = 64;
constexpr int64_t kLossTokens = 256;  // per partial sum of the losses

int64_t count_tokens(const Tensor& doc_start_N) {
  const int32_t* first = doc_start_N.as<int32_t>();
  return std::count_if(first, first + doc_start_N.numel(), [](int32_t f) { return f >= 0; });
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

}  // namespace

void CpuOps::route(Route op) {
  op.check();
  const int64_t n = op.logits_NE.dim(0), e = op.logits_NE.dim(1), k = op.expert_NK.dim(1);
  float *probability = op.probability_NE.as<float>(), *lse = op.lse_N.as<float>(),
        *weight = op.weight_NK.as<float>();
  int32_t* expert = op.expert_NK.as<int32_t>();
  const float* logits = op.logits_NE.as<float>();
  const int32_t* first = op.doc_start_N.as<int32_t>();
  pool_.parallel_for(n, kTokens, [&](int64_t begin, int64_t end) {
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
      // By logits, not probabilities: the same order, but not hostage to the last bit of exp.
      largest(chosen, logits + t * e, e, k);
      float sum = 0;
      for (int64_t j = 0; j < k; ++j) sum += p[chosen[j]];
      const float divisor = op.renormalise ? sum : 1.0F;
      for (int64_t j = 0; j < k; ++j) w[j] = p[chosen[j]] / divisor;
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
  const float scale =
      op.scale_1.as<float>()[0] / static_cast<float>(std::max<int64_t>(1, count_tokens(op.doc_start_N)));
  const float balance = scale * op.balance_weight * static_cast<float>(e), z = 2 * scale * op.z_weight;
  float* dlogits = op.dlogits_NE.as<float>();
  pool_.parallel_for(n, kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* __restrict out = dlogits + t * e;
      if (first[t] < 0) {
        std::fill(out, out + e, 0.0F);
        continue;
      }
      const float* __restrict p = probability + t * e;
      const float *dw = dweight + t * k, *w = weight + t * k;
      const int32_t* chosen = expert + t * k;
      // d softmax: p_i (g_i - <g, p>), g = balance * share + the chosen experts' dweight; z adds p_i lse.
      float mean = 0;  // <dweight, weight>
      for (int64_t j = 0; j < k; ++j) mean += dw[j] * w[j];
      // Renormalised weights are a softmax over the chosen logits alone, so others feel nothing of dweight.
      const float others = op.renormalise ? 0.0F : mean;
      const float shared = z * lse[t] - balance * dot(share, p, e) - others;
      for (int64_t i = 0; i < e; ++i) out[i] = p[i] * (balance * share[i] + shared);
      for (int64_t j = 0; j < k; ++j) out[chosen[j]] += w[j] * (op.renormalise ? dw[j] - mean : dw[j]);
    }
  });
}

}  // namespace moe::cpu
