// SPDX-License-Identifier: MIT
// Matrix products. Letters, types and what holds for every op: ops/ops.h.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/tensor.h"

namespace moe {

// c = op(a) op(b): NT is forward (x w^T), NN the data gradient (dy w), TN the weight gradient (dy^T x).
enum class MatmulLayout : uint8_t { NT, NN, TN };

// Which part of the model a product belongs to. Only measurements read it.
enum class MatmulRole : uint8_t { projection, head };

// NT: c[M,N] = a[M,K] b[N,K]^T.  NN: c[M,N] = a[M,K] b[K,N].  TN: c[M,N] = a[K,M]^T b[K,N].
//   accumulate: c +=.
// a and b have one type; c has that type or f32. A sum with a c of 16 bits is rounded once.
struct Matmul {
  static constexpr const char* name = "matmul";
  Tensor c_MN;
  const Tensor a, b;
  MatmulLayout layout = MatmulLayout::NT;
  bool accumulate = false;
  MatmulRole role = MatmulRole::projection;

  const char* phase() const;
  std::string label() const;
  void check() const;
  double flops() const;
  double bytes() const;
};

// c = addend + a b^T, of the addend's type.
struct MatmulAdd {
  static constexpr const char* name = "matmul_add";
  static constexpr const char* phase = "projections";
  Tensor c_MN;
  const Tensor addend_MN, a_MK, b_NK;

  std::string label() const;
  void check() const;
  double flops() const;
  double bytes() const;
};

// One product per expert over the rows [offset[e], offset[e+1]). Rows past offset[E] are neither read nor
// written. An expert without rows contributes nothing (TN: its block stays when accumulating, else is 0).
// NT: c[R,N] = a[R,K] w[E,N,K]^T.  NN: c[R,K] = a[R,N] w[E,N,K].  TN: c[E,N,K] = a[R,N]^T b[R,K].
struct GroupedMatmul {
  static constexpr const char* name = "grouped_matmul";
  static constexpr const char* phase = "experts";
  Tensor c;
  const Tensor a, b, offset_E1;
  MatmulLayout layout = MatmulLayout::NT;
  bool accumulate = false;

  std::string label() const;
  void check() const;
  double flops() const;  // a has one row for each routed row in every layout; without drops all are in use
  double bytes() const;
};

}  // namespace moe
