// SPDX-License-Identifier: MIT
// The embedding of tokens. Letters, types and what holds for every op: ops/ops.h.
#pragma once

#include "tensor/tensor.h"

namespace moe {

// x[n] = scale * w[id[n]] with 0 <= id < V.
struct EmbeddingForward {
  static constexpr const char* name = "embedding_forward";
  static constexpr const char* phase = "embedding";
  Tensor x_ND;
  const Tensor id_N, w_VD;
  float scale = 1;

  void check() const;
  double bytes() const;
};

// dw[id[n]] += scale * dx[n], in the order of n. dw is f32.
struct EmbeddingBackward {
  static constexpr const char* name = "embedding_backward";
  static constexpr const char* phase = "embedding";
  Tensor dw_VD;
  const Tensor id_N, dx_ND;
  float scale = 1;

  void check() const;
  double bytes() const;
};

}  // namespace moe
