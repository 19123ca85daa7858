// SPDX-License-Identifier: MIT
// Shapes and types of matmul and grouped_matmul (ops/ops.h), checked first by every implementation.
#pragma once

#include <string>

#include "base/error.h"
#include "ops/ops.h"
#include "tensor/tensor.h"

namespace moe::contracts {

inline void check_product_types(const Tensor& c, const Tensor& a, const Tensor& b) {
  CHECK(is_activation(a.dtype()), a.describe());
  CHECK(b.dtype() == a.dtype(), a.describe() + " and " + b.describe());
  CHECK(c.dtype() == DType::f32 || c.dtype() == a.dtype(), c.describe() + " from " + a.describe());
}

inline void matmul(const Tensor& c_MN, const Tensor& a, const Tensor& b, MatmulLayout layout) {
  const std::string shapes = c_MN.describe() + " = " + a.describe() + " * " + b.describe();
  CHECK(c_MN.rank() == 2 && a.rank() == 2 && b.rank() == 2, shapes);
  check_product_types(c_MN, a, b);
  const int64_t m = c_MN.dim(0), n = c_MN.dim(1);
  const int64_t k = layout == MatmulLayout::TN ? a.dim(0) : a.dim(1);
  CHECK(layout == MatmulLayout::TN ? a.has_shape({k, m}) : a.has_shape({m, k}), shapes);
  CHECK(layout == MatmulLayout::NT ? b.has_shape({n, k}) : b.has_shape({k, n}), shapes);
}

inline void matmul_add(const Tensor& c_MN, const Tensor& addend_MN, const Tensor& a_MK, const Tensor& b_NK) {
  matmul(c_MN, a_MK, b_NK, MatmulLayout::NT);
  CHECK(addend_MN.dtype() == c_MN.dtype() && addend_MN.has_shape({c_MN.dim(0), c_MN.dim(1)}),
        addend_MN.describe());
}

inline void grouped_matmul(const Tensor& c, const Tensor& a, const Tensor& b, const Tensor& offset_E1,
                           MatmulLayout layout) {
  const std::string shapes = c.describe() + " = " + a.describe() + " * " + b.describe();
  check_product_types(c, a, b);
  CHECK(offset_E1.dtype() == DType::i32 && offset_E1.rank() == 1 && offset_E1.dim(0) >= 2,
        offset_E1.describe());
  const int64_t experts = offset_E1.dim(0) - 1;
  CHECK(a.rank() == 2, shapes);
  const int64_t rows = a.dim(0), width = a.dim(1);
  if (layout == MatmulLayout::TN) {
    CHECK(b.rank() == 2 && b.dim(0) == rows, shapes);
    CHECK(c.has_shape({experts, width, b.dim(1)}), shapes);
  } else {
    CHECK(b.rank() == 3 && b.dim(0) == experts, shapes);
    CHECK(b.dim(layout == MatmulLayout::NT ? 2 : 1) == width, shapes);
    CHECK(c.has_shape({rows, b.dim(layout == MatmulLayout::NT ? 1 : 2)}), shapes);
  }
}

}  // namespace moe::contracts
