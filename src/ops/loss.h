// SPDX-License-Identifier: MIT
// The loss. Letters, types and what holds for every op: ops/ops.h.
#pragma once

#include <cstdint>

#include "ops/fp8.h"
#include "tensor/tensor.h"

namespace moe {

// loss[n] = log sum exp(logits[n, :vocabulary]) - logits[n, target[n]]; 0 where target is -1.
// When gradient_scale_1 is not empty, logits become scale * (softmax - onehot), and 0 in the columns past
// `vocabulary` and in rows without a target. This rounds once more.
// gradient8, unless it is empty: the gradient once more, as e5m2 with one scale for all rows, that of a row
// whose largest element is *gradient_scale_1, which none exceeds.
struct CrossEntropy {
  static constexpr const char* name = "cross_entropy";
  static constexpr const char* phase = "head";
  Tensor loss_N, logits_NV;
  const Tensor target_N;
  int64_t vocabulary;
  const Tensor gradient_scale_1 = {};
  ScaledRows gradient8_NV = {};

  void check() const;
  double bytes() const;
};

}  // namespace moe
