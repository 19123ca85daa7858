// SPDX-License-Identifier: MIT
// Shapes, types, costs and bodies of a sum of rows with the norm beside it.
#include "ops/combine_norm.h"

#include "ops/cost.h"
#include "ops/expect.h"
#include "ops/ops.h"

namespace moe {

void CombineNormForward::check() const {
  combine.check();
  norm.check();
  CHECK(norm.x_ND.data() == combine.y_ND.data(), "combine_norm_forward: x of the norm is not y");
  expect(norm.x_ND, "combine_norm_forward: x", combine.y_ND.dtype(),
         {combine.y_ND.dim(0), combine.y_ND.dim(1)});
}

double CombineNormForward::bytes() const {
  return combine.bytes() + norm.bytes() - bytes_of({norm.x_ND});
}

void Ops::combine_norm_forward(CombineNormForward op) {
  op.check();
  combine_rows(op.combine);
  rms_norm_forward(op.norm);
}

void CombineNormBackward::check() const {
  combine.check();
  norm.check();
  CHECK(norm.dy_ND.data() == combine.y_ND.data(), "combine_norm_backward: dy of the norm is not y");
  expect(norm.dy_ND, "combine_norm_backward: dy", combine.y_ND.dtype(),
         {combine.y_ND.dim(0), combine.y_ND.dim(1)});
}

double CombineNormBackward::bytes() const {
  return combine.bytes() + norm.bytes() - bytes_of({norm.dy_ND, norm.dy_ND});
}

void Ops::combine_norm_backward(CombineNormBackward op) {
  op.check();
  combine_rows(op.combine);
  rms_norm_backward(op.norm);
}

}  // namespace moe
