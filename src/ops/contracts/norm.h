// SPDX-License-Identifier: MIT
// Shapes and types of RMSNorm.
#pragma once

#include "ops/contracts/expect.h"

namespace moe::contracts {

inline void check_rms_norm_forward(const Tensor& y_ND, const Tensor& rstd_N, const Tensor& x_ND,
                                   const Tensor& w_D) {
  const DType type = expect_activation(x_ND, "rms_norm_forward: x", 2);
  const int64_t n = x_ND.dim(0), d = x_ND.dim(1);
  expect(y_ND, "rms_norm_forward: y", type, {n, d});
  expect(rstd_N, "rms_norm_forward: rstd", DType::f32, {n});
  expect(w_D, "rms_norm_forward: w", DType::f32, {d});
}

inline void check_rms_norm_backward(const Tensor& dx_ND, const Tensor& dw_D, const Tensor& dy_ND,
                                    const Tensor& residual_ND, const Tensor& x_ND, const Tensor& w_D,
                                    const Tensor& rstd_N) {
  const DType type = expect_activation(x_ND, "rms_norm_backward: x", 2);
  const int64_t n = x_ND.dim(0), d = x_ND.dim(1);
  expect(dx_ND, "rms_norm_backward: dx", type, {n, d});
  expect(dw_D, "rms_norm_backward: dw", DType::f32, {d});
  expect(dy_ND, "rms_norm_backward: dy", type, {n, d});
  if (!residual_ND.empty()) expect(residual_ND, "rms_norm_backward: residual", type, {n, d});
  expect(w_D, "rms_norm_backward: w", DType::f32, {d});
  expect(rstd_N, "rms_norm_backward: rstd", DType::f32, {n});
}

}  // namespace moe::contracts
