// SPDX-License-Identifier: MIT
// Shapes and types of the embedding. That 0 <= id < V is for the implementation, which sees the values.
#pragma once

#include "ops/contracts/expect.h"

namespace moe::contracts {

inline void check_embedding_forward(const Tensor& x_ND, const Tensor& id_N, const Tensor& w_VD) {
  const DType type = expect_activation(w_VD, "embedding_forward: w", 2);
  CHECK(id_N.rank() == 1, "embedding_forward: id must be a vector");
  expect(id_N, "embedding_forward: id", DType::i32, {id_N.dim(0)});
  expect(x_ND, "embedding_forward: x", type, {id_N.dim(0), w_VD.dim(1)});
}

inline void check_embedding_backward(const Tensor& dw_VD, const Tensor& id_N, const Tensor& dx_ND) {
  expect_activation(dx_ND, "embedding_backward: dx", 2);
  CHECK(dw_VD.rank() == 2, "embedding_backward: dw must be a matrix");
  expect(dw_VD, "embedding_backward: dw", DType::f32, {dw_VD.dim(0), dx_ND.dim(1)});
  expect(id_N, "embedding_backward: id", DType::i32, {dx_ND.dim(0)});
}

}  // namespace moe::contracts
