// SPDX-License-Identifier: MIT
// Shapes, types and costs of the embedding. That 0 <= id < V is for the implementations, which see values.
#include "ops/embedding.h"

#include "ops/cost.h"
#include "ops/expect.h"

namespace moe {

void EmbeddingForward::check() const {
  const DType type = expect_activation(w_VD, "embedding_forward: w", 2);
  CHECK(id_N.rank() == 1, "embedding_forward: id must be a vector");
  expect(id_N, "embedding_forward: id", DType::i32, {id_N.dim(0)});
  expect(x_ND, "embedding_forward: x", type, {id_N.dim(0), w_VD.dim(1)});
}

double EmbeddingForward::bytes() const {
  return bytes_of({x_ND, x_ND});  // of the table only these rows
}

void EmbeddingBackward::check() const {
  expect_activation(dx_ND, "embedding_backward: dx", 2);
  CHECK(dw_VD.rank() == 2, "embedding_backward: dw must be a matrix");
  expect(dw_VD, "embedding_backward: dw", DType::f32, {dw_VD.dim(0), dx_ND.dim(1)});
  expect(id_N, "embedding_backward: id", DType::i32, {dx_ND.dim(0)});
}

double EmbeddingBackward::bytes() const {
  return bytes_of({dx_ND, dx_ND, dx_ND});
}

}  // namespace moe
