// SPDX-License-Identifier: MIT
// Shapes and types of the attention output gate.
#pragma once

#include "ops/contracts/expect.h"
#include "ops/ops.h"

namespace moe::contracts {

inline void check_gate_forward(const Tensor& y_NHd, const Tensor& o_NHd, const Tensor& packed_NP,
                               const Heads& heads) {
  const DType type = expect_activation(packed_NP, "gate_forward: packed", 2);
  const int64_t n = packed_NP.dim(0);
  expect(packed_NP, "gate_forward: packed", type, {n, heads.packed()});
  expect(y_NHd, "gate_forward: y", type, {n, heads.query, heads.dim});
  expect(o_NHd, "gate_forward: o", type, {n, heads.query, heads.dim});
}

inline void check_gate_backward(const Tensor& do_NHd, const Tensor& dpacked_NP, const Tensor& dy_NHd,
                                const Tensor& o_NHd, const Tensor& packed_NP, const Heads& heads) {
  const DType type = expect_activation(packed_NP, "gate_backward: packed", 2);
  const int64_t n = packed_NP.dim(0);
  expect(packed_NP, "gate_backward: packed", type, {n, heads.packed()});
  expect(dpacked_NP, "gate_backward: dpacked", type, {n, heads.packed()});
  expect(do_NHd, "gate_backward: do", type, {n, heads.query, heads.dim});
  expect(dy_NHd, "gate_backward: dy", type, {n, heads.query, heads.dim});
  expect(o_NHd, "gate_backward: o", type, {n, heads.query, heads.dim});
}

}  // namespace moe::contracts
