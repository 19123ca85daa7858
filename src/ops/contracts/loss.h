// SPDX-License-Identifier: MIT
// Shapes and types of cross_entropy (ops/ops.h), checked first by every implementation.
#pragma once

#include "base/error.h"
#include "tensor/tensor.h"

namespace moe::contracts {

inline void cross_entropy(const Tensor& loss_N, const Tensor& logits_NV, const Tensor& target_N,
                          int64_t vocabulary, const Tensor& gradient_scale_1) {
  CHECK(logits_NV.rank() == 2, logits_NV.describe());
  CHECK(is_activation(logits_NV.dtype()), logits_NV.describe());
  CHECK(loss_N.dtype() == DType::f32 && loss_N.has_shape({logits_NV.dim(0)}), loss_N.describe());
  CHECK(target_N.dtype() == DType::i32 && target_N.has_shape({logits_NV.dim(0)}), target_N.describe());
  CHECK(vocabulary >= 1 && vocabulary <= logits_NV.dim(1), logits_NV.describe());
  if (!gradient_scale_1.empty())
    CHECK(gradient_scale_1.dtype() == DType::f32 && gradient_scale_1.has_shape({1}),
          gradient_scale_1.describe());
}

}  // namespace moe::contracts
