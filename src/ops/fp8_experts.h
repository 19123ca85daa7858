// SPDX-License-Identifier: MIT
// The experts' products that read rows by token (ops/experts.h), of FP8 operands (ops/fp8.h): e4m3, with a
// scale for each token and one for each row of an expert's weights. Sums are kept to 14 bits on the way, or
// better: each step of 32 products may lose 2^-13 of the sum, so that
// (D / 32 * 2^-13)^2 is added to the bound. Activations are bf16. Letters, types and what holds for every op:
// ops/ops.h.
#pragma once

#include "ops/fp8.h"
#include "ops/route_plan.h"
#include "tensor/tensor.h"

namespace moe {

// h[r] = x[slot[r] / K] w^T and a = gate * silu(up) of the rounded h.
struct Fp8ExpertUp {
  static constexpr const char* name = "fp8_expert_up";
  static constexpr const char* phase = "experts";
  Tensor h_R2F, a_RF;
  const ScaledRows x_ND, w_E2FD;
  const RoutePlan plan;

  void check() const;
  double flops() const;
  double bytes() const;
};

// da[r] = dy[slot[r] / K] w^T, then SwigluBackward. w is W_down transposed, so that a row of F has one scale
// and both operands have their inner dimension in rows: QuantiseColumns makes it of w_EDF. Rounds twice at
// most: da may be rounded. dh may be h.
struct Fp8ExpertDownBackward {
  static constexpr const char* name = "fp8_expert_down_backward";
  static constexpr const char* phase = "experts";
  Tensor dh_R2F, a_RF, dweight_NK;
  const ScaledRows dy_ND, w_EFD;
  const Tensor h_R2F, weight_NK;
  const RoutePlan plan;

  void check() const;
  double flops() const;
  double bytes() const;
};

class Ops;

// The same with operands widened to bf16, which holds a scaled FP8 number exactly: the specification, for
// devices that have no such products. rows_RD is memory that they may use, bf16 too.
void run_widened(Ops& ops, const Fp8ExpertUp& op, const Tensor& x_ND, const Tensor& w_E2FD,
                 const Tensor& rows_RD);
void run_widened(Ops& ops, const Fp8ExpertDownBackward& op, const Tensor& dy_ND, const Tensor& w_EFD,
                 const Tensor& rows_RD);

}  // namespace moe
