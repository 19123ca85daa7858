// SPDX-License-Identifier: MIT
#include "ops/norm.h"

#include "ops/cost.h"
#include "ops/expect.h"

namespace moe {
namespace {

void check_e4m3(const ScaledRows& q, const Tensor& x) {
  QuantiseRows{q, x}.check();
  CHECK(q.value.dtype() == DType::e4m3, q.value.describe());
}

}  // namespace

void RmsNormForward::check() const {
  const DType type = expect_activation(x_ND, "rms_norm_forward: x", 2);
  const int64_t n = x_ND.dim(0), d = x_ND.dim(1);
  expect(y_ND, "rms_norm_forward: y", type, {n, d});
  expect(rstd_N, "rms_norm_forward: rstd", DType::f32, {n});
  expect(w_D, "rms_norm_forward: w", DType::f32, {d});
  if (!y8_ND.empty()) check_e4m3(y8_ND, y_ND);
}

double RmsNormForward::bytes() const {
  return bytes_of({y_ND, rstd_N, x_ND, w_D, y8_ND.value, y8_ND.scale});
}

void RmsNormBackward::check() const {
  const DType type = expect_activation(x_ND, "rms_norm_backward: x", 2);
  const int64_t n = x_ND.dim(0), d = x_ND.dim(1);
  expect(dx_ND, "rms_norm_backward: dx", type, {n, d});
  expect(dw_D, "rms_norm_backward: dw", DType::f32, {d});
  expect(dy_ND, "rms_norm_backward: dy", type, {n, d});
  if (!residual_ND.empty()) expect(residual_ND, "rms_norm_backward: residual", type, {n, d});
  expect(w_D, "rms_norm_backward: w", DType::f32, {d});
  expect(rstd_N, "rms_norm_backward: rstd", DType::f32, {n});
  if (!dx8_ND.empty()) check_e4m3(dx8_ND, dx_ND);
}

double RmsNormBackward::bytes() const {
  return bytes_of({dx_ND, dw_D, dy_ND, residual_ND, x_ND, w_D, rstd_N, dx8_ND.value, dx8_ND.scale});
}

}  // namespace moe
