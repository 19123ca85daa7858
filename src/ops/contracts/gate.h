// SPDX-License-Identifier: MIT
// Shapes and types of the attention output gate.
#pragma once

#include "ops/contracts/expect.h"
#include "ops/ops.h"

namespace moe::contracts {

inline void check_gate_backward(const Tensor& do_NHd, const Tensor& y_NHd, const Tensor& delta_NH,
                                const Tensor& dpacked_NP, const Tensor& dy_NHd, const Tensor& o_NHd,
                                const Tensor& packed_NP, const Heads& heads) {
  const DType type = expect_activation(packed_NP, "gate_backward: packed", 2);
  const int64_t n = packed_NP.dim(0);
  expect(packed_NP, "gate_backward: packed", type, {n, heads.packed()});
  expect(dpacked_NP, "gate_backward: dpacked", type, {n, heads.packed()});
  expect(delta_NH, "gate_backward: delta", DType::f32, {n, heads.query});
  expect(do_NHd, "gate_backward: do", type, {n, heads.query, heads.dim});
  expect(y_NHd, "gate_backward: y", type, {n, heads.query, heads.dim});
  expect(dy_NHd, "gate_backward: dy", type, {n, heads.query, heads.dim});
  expect(o_NHd, "gate_backward: o", type, {n, heads.query, heads.dim});
}

}  // namespace moe::contracts
