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
  const auto is_float = [](const Tensor& t) { return !t.empty() && is_activation(t.dtype()); };
  CHECK(is_float(x) && is_float(y), "cast: both must be f32, bf16 or f16");
  CHECK(x.dtype() == DType::f32 || y.dtype() == DType::f32 || x.dtype() == y.dtype(),
        "cast: not between two types of 16 bits");
  CHECK(y.numel() == x.numel(), "cast: " + y.describe() + " = " + x.describe());
}

inline void check_add(const Tensor& y, const Tensor& x) {
  CHECK(!x.empty() && !y.empty(), "add: a tensor is missing");
  CHECK(y.dtype() == x.dtype() && y.numel() == x.numel(), "add: " + y.describe() + " += " + x.describe());
  CHECK(y.dtype() == DType::f32 || y.dtype() == DType::i32, "add: " + y.describe());
}

}  // namespace moe::contracts
