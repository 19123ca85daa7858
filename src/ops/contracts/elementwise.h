// SPDX-License-Identifier: MIT
// Shapes and types of fill, copy, cast and add.
#pragma once

#include <string>

#include "tensor/tensor.h"

namespace moe::contracts {

inline void check_fill(const Tensor& x) {
  CHECK(!x.empty(), "fill: x is missing");
}

inline void check_copy(const Tensor& y, const Tensor& x) {
  CHECK(!x.empty() && !y.empty(), "copy: a tensor is missing");
  CHECK(y.dtype() == x.dtype() && y.numel() == x.numel(), "copy: " + y.describe() + " = " + x.describe());
}

inline void check_cast(const Tensor& y, const Tensor& x) {
  const auto is_float = [](const Tensor& t) {
    return !t.empty() && (t.dtype() == DType::f32 || t.dtype() == DType::bf16);
  };
  CHECK(is_float(x) && is_float(y), "cast: both must be f32 or bf16");
  CHECK(y.numel() == x.numel(), "cast: " + y.describe() + " = " + x.describe());
}

inline void check_add(const Tensor& y, const Tensor& x) {
  CHECK(!x.empty() && !y.empty(), "add: a tensor is missing");
  CHECK(y.dtype() == x.dtype() && y.numel() == x.numel(), "add: " + y.describe() + " += " + x.describe());
  CHECK(y.dtype() == DType::f32 || y.dtype() == DType::i32, "add: " + y.describe());
}

}  // namespace moe::contracts
