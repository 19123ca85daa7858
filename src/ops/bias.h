// SPDX-License-Identifier: MIT
// The bias of a product. Letters, types and what holds for every op: ops/ops.h.
// Forward writes it where the product then adds: so a sum of 16 bits is rounded once, and a product without a
// bias is the same op as ever.
#pragma once

#include "tensor/tensor.h"

namespace moe {

// y[n] = bias, converted to y's type. bias is f32.
struct BiasForward {
  static constexpr const char* name = "bias_forward";
  static constexpr const char* phase = "projections";
  Tensor y_NP;
  const Tensor bias_P;

  void check() const;
  double bytes() const;
};

// dbias += sum over n of dy[n]. dbias is f32.
struct BiasBackward {
  static constexpr const char* name = "bias_backward";
  static constexpr const char* phase = "projections";
  Tensor dbias_P;
  const Tensor dy_NP;

  void check() const;
  double bytes() const;
};

}  // namespace moe
