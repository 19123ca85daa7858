// SPDX-License-Identifier: MIT
// cross_entropy: a few rows per task; each row is read for its maximum, for its sum, and once more for the
// gradient. A row of 50304 bf16 logits stays in the second-level cache between the passes.
#include <cmath>

#include "cpu/cpu_ops.h"
#include "cpu/vector.h"
#include "ops/contracts/loss.h"

namespace moe::cpu {
namespace {

constexpr int64_t kRowsPerTask = 4;

// Returns the loss; logits become the gradient when scale is not null.
template <class T>
float row_loss(T* logits, int64_t width, int64_t vocabulary, int32_t target, const float* scale) {
  if (target < 0) {
    if (scale != nullptr) std::fill_n(logits, width, T(0.0F));
    return 0;
  }
  CHECK(target < vocabulary, "target " + std::to_string(target));
  const float largest = max_of(logits, vocabulary);
  const float total =
      sum_of(vocabulary, [&](int64_t i) { return exp_approx(to_float(logits[i]) - largest); });
  const double loss = std::log(static_cast<double>(total)) + (largest - to_float(logits[target]));
  if (scale == nullptr) return static_cast<float>(loss);
  const float factor = *scale / total;
  const float at_target = exp_approx(to_float(logits[target]) - largest) * factor - *scale;
  for (int64_t i = 0; i < vocabulary; ++i)
    logits[i] = from_float<T>(exp_approx(to_float(logits[i]) - largest) * factor);
  logits[target] = from_float<T>(at_target);
  std::fill(logits + vocabulary, logits + width, T(0.0F));
  return static_cast<float>(loss);
}

}  // namespace

void CpuOps::cross_entropy(Tensor loss_N, Tensor logits_NV, const Tensor& target_N, int64_t vocabulary,
                           const Tensor& gradient_scale_1) {
  contracts::cross_entropy(loss_N, logits_NV, target_N, vocabulary, gradient_scale_1);
  const int64_t width = logits_NV.dim(1);
  const float* scale = gradient_scale_1.empty() ? nullptr : gradient_scale_1.as<float>();
  with_type(logits_NV.dtype(), [&](auto type) {
    using T = decltype(type);
    pool_.parallel_for(logits_NV.dim(0), kRowsPerTask, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n)
        loss_N.as<float>()[n] =
            row_loss(logits_NV.as<T>() + n * width, width, vocabulary, target_N.as<int32_t>()[n], scale);
    });
  });
}

}  // namespace moe::cpu
