// SPDX-License-Identifier: MIT
// Shapes and types of the experts' activation.
#pragma once

#include "ops/contracts/expect.h"
#include "ops/contracts/permute.h"

namespace moe::contracts {

inline void check_swiglu_forward(const Tensor& a_RF, const Tensor& h_R2F, const RoutePlan& plan) {
  const DType type = expect_activation(a_RF, "swiglu_forward: a", 2);
  expect(h_R2F, "swiglu_forward: h", type, {a_RF.dim(0), 2 * a_RF.dim(1)});
  check_plan(plan, a_RF.dim(0));
}

inline void check_swiglu_backward(const Tensor& dh_R2F, const Tensor& a_RF, const Tensor& dweight_NK,
                                  const Tensor& da_RF, const Tensor& h_R2F, const Tensor& weight_NK,
                                  const RoutePlan& plan) {
  const DType type = expect_activation(a_RF, "swiglu_backward: a", 2);
  const int64_t rows = a_RF.dim(0), f = a_RF.dim(1);
  expect(h_R2F, "swiglu_backward: h", type, {rows, 2 * f});
  expect(dh_R2F, "swiglu_backward: dh", type, {rows, 2 * f});
  expect(da_RF, "swiglu_backward: da", type, {rows, f});
  expect_numel(dweight_NK, "swiglu_backward: dweight", DType::f32, rows);
  expect_numel(weight_NK, "swiglu_backward: weight", DType::f32, rows);
  check_plan(plan, rows);
}

}  // namespace moe::contracts
