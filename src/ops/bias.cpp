// SPDX-License-Identifier: MIT
#include "ops/bias.h"

#include "ops/cost.h"
#include "ops/expect.h"

namespace moe {

void BiasForward::check() const {
  expect_activation(y_NP, "bias_forward: y", 2);
  expect(bias_P, "bias_forward: bias", DType::f32, {y_NP.dim(1)});
}

double BiasForward::bytes() const {
  return bytes_of({y_NP, bias_P});
}

void BiasBackward::check() const {
  expect_activation(dy_NP, "bias_backward: dy", 2);
  expect(dbias_P, "bias_backward: dbias", DType::f32, {dy_NP.dim(1)});
}

double BiasBackward::bytes() const {
  return bytes_of({dbias_P, dbias_P, dy_NP});
}

}  // namespace moe
