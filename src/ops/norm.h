// SPDX-License-Identifier: MIT
// RMSNorm. Letters, types and what holds for every op: ops/ops.h.
#pragma once

#include "ops/fp8.h"
#include "tensor/tensor.h"

namespace moe {

// y = w * x * rstd,  rstd = 1 / sqrt(mean(x^2) + eps)   (Zhang & Sennrich 2019).
// y8, unless it is empty: QuantiseRows of y.
struct RmsNormForward {
  static constexpr const char* name = "rms_norm_forward";
  static constexpr const char* phase = "norms";
  Tensor y_ND, rstd_N;
  const Tensor x_ND, w_D;
  float eps;
  ScaledRows y8_ND = {};

  void check() const;
  double bytes() const;
};

// dx = residual + d(loss)/dx of the norm;  dw += sum_n dy * x * rstd.
// residual may be empty, which counts as zero, or be dx. dx8, unless it is empty: QuantiseRows of dx.
struct RmsNormBackward {
  static constexpr const char* name = "rms_norm_backward";
  static constexpr const char* phase = "norms";
  Tensor dx_ND, dw_D;
  const Tensor dy_ND, residual_ND, x_ND, w_D, rstd_N;
  ScaledRows dx8_ND = {};

  void check() const;
  double bytes() const;
};

}  // namespace moe
