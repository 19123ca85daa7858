// SPDX-License-Identifier: MIT
#include "ops/loss.h"

#include "ops/cost.h"

namespace moe {

void CrossEntropy::check() const {
  CHECK(logits_NV.rank() == 2, logits_NV.describe());
  CHECK(is_activation(logits_NV.dtype()), logits_NV.describe());
  CHECK(loss_N.dtype() == DType::f32 && loss_N.has_shape({logits_NV.dim(0)}), loss_N.describe());
  CHECK(target_N.dtype() == DType::i32 && target_N.has_shape({logits_NV.dim(0)}), target_N.describe());
  CHECK(vocabulary >= 1 && vocabulary <= logits_NV.dim(1), logits_NV.describe());
  if (!gradient_scale_1.empty())
    CHECK(gradient_scale_1.dtype() == DType::f32 && gradient_scale_1.has_shape({1}),
          gradient_scale_1.describe());
  if (gradient8_NV.empty()) return;
  QuantiseRows{gradient8_NV, logits_NV}.check();
  CHECK(gradient8_NV.value.dtype() == DType::e5m2 && !gradient_scale_1.empty(),
        gradient8_NV.value.describe());
}

double CrossEntropy::bytes() const {
  return bytes_of(
      {loss_N, logits_NV, logits_NV, target_N, gradient_scale_1, gradient8_NV.value, gradient8_NV.scale});
}

}  // namespace moe
