// SPDX-License-Identifier: MIT
// FP8 operands: a matrix as bytes, with one scale for each row, and the products of two such matrices. Each
// scale is a power of two, the least with which the row's largest element is representable (base/fp8.h): so
// nothing saturates, and a row that is quantised again is unchanged. docs/fp8.md says which products of the
// model are such. Letters, types and what holds for every op: ops/ops.h.
#pragma once

#include <string>

#include "ops/matmul.h"
#include "tensor/scaled_rows.h"
#include "tensor/tensor.h"

namespace moe {

// q = x by rows, of any activation type.
struct QuantiseRows {
  static constexpr const char* name = "quantise_rows";
  static constexpr const char* phase = "quantise";
  ScaledRows q;
  const Tensor x;

  void check() const;
  double bytes() const;
};

// q = x^T by rows: q.value[.., c, r] and q.scale[.., c] of x[.., r, c].
struct QuantiseColumns {
  static constexpr const char* name = "quantise_columns";
  static constexpr const char* phase = "quantise";
  ScaledRows q;
  const Tensor x;

  void check() const;
  double bytes() const;
};

// c = a b^T, of rows scaled as said, plus the addend unless it is empty; it may be c. c is bf16 or f32. Sums
// are as those of Matmul's; with `fast` a device may keep them to 14 bits on the way, which is no more than
// rounding the operands costs where the inner dimension is a few thousand.
struct Fp8Matmul {
  static constexpr const char* name = "fp8_matmul";
  Tensor c_MN;
  const ScaledRows a_MK, b_NK;
  const Tensor addend_MN = {};
  bool fast = false;
  MatmulRole role = MatmulRole::projection;

  const char* phase() const;
  std::string label() const;
  void check() const;
  double flops() const;
  double bytes() const;
};

}  // namespace moe
