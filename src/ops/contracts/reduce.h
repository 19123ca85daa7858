// SPDX-License-Identifier: MIT
// Shapes and types of the sums and the clipping factor.
#pragma once

#include "ops/contracts/expect.h"

namespace moe::contracts {

inline void check_sum(const Tensor& sum_1, const Tensor& x) {
  expect(sum_1, "sum: sum", DType::f64, {1});
  expect_numel(x, "sum: x", DType::f32, x.numel());
}

inline void check_sum_squares(const Tensor& sum_1, const Tensor& x) {
  expect(sum_1, "sum_squares: sum", DType::f64, {1});
  expect_numel(x, "sum_squares: x", x.dtype() == DType::bf16 ? DType::bf16 : DType::f32, x.numel());
}

inline void check_clip_scale(const Tensor& scale_1, const Tensor& squares_n, float max_norm,
                             float loss_scale) {
  expect(scale_1, "clip_scale: scale", DType::f32, {1});
  expect_numel(squares_n, "clip_scale: squares", DType::f64, squares_n.numel());
  CHECK(max_norm >= 0, "clip_scale: max_norm must not be negative");
  CHECK(loss_scale > 0, "clip_scale: loss_scale must be positive");
}

}  // namespace moe::contracts
