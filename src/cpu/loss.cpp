// SPDX-License-Identifier: MIT
// cross_entropy: a few rows per task. The exponentials of a row are kept in f32 between the loss and the
// gradient: 200 kB for 50304 words, which stay in the second-level cache.
#include <algorithm>
#include <cmath>
#include <string>

#include "cpu/cpu_ops.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

constexpr int64_t kRowsPerTask = 4;

// Returns the loss; logits become the gradient when scale is not null. exps: room for `vocabulary` floats.
template <class T>
float row_loss(T* logits, float* exps, int64_t width, int64_t vocabulary, int32_t target,
               const float* scale) {
  if (target < 0) {
    if (scale != nullptr) std::fill_n(logits, width, T(0.0F));
    return 0;
  }
  CHECK(target < vocabulary, "target " + std::to_string(target));
  const float largest = max_of(logits, vocabulary);
  for (int64_t i = 0; i < vocabulary; ++i) exps[i] = exp_approx(to_float(logits[i]) - largest);
  const float total = sum_of(vocabulary, [&](int64_t i) { return exps[i]; });
  const double loss = std::log(static_cast<double>(total)) + (largest - to_float(logits[target]));
  if (scale == nullptr) return static_cast<float>(loss);
  const float factor = *scale / total;
  for (int64_t i = 0; i < vocabulary; ++i) logits[i] = from_float<T>(exps[i] * factor);
  logits[target] = from_float<T>(exps[target] * factor - *scale);
  std::fill(logits + vocabulary, logits + width, T(0.0F));
  return static_cast<float>(loss);
}

}  // namespace

void CpuOps::cross_entropy(CrossEntropy op) {
  op.check();
  const int64_t width = op.logits_NV.dim(1);
  const float* scale = op.gradient_scale_1.empty() ? nullptr : op.gradient_scale_1.as<float>();
  with_type(op.logits_NV.dtype(), [&](auto type) {
    using T = decltype(type);
    pool_.parallel_for(op.logits_NV.dim(0), kRowsPerTask, [&](int64_t begin, int64_t end) {
      auto lease = scratch_.borrow(Scratch::padded<float>(op.vocabulary));
      auto* exps = lease.template take<float>(op.vocabulary);
      for (int64_t n = begin; n < end; ++n)
        op.loss_N.as<float>()[n] = row_loss(op.logits_NV.as<T>() + n * width, exps, width, op.vocabulary,
                                            op.target_N.as<int32_t>()[n], scale);
    });
  });
}

}  // namespace moe::cpu
