// SPDX-License-Identifier: MIT
// The experts: rows by token, the activation, products with both in them. Letters, types and what holds for
// every op: ops/ops.h.
#pragma once

#include "ops/route_plan.h"
#include "tensor/tensor.h"

namespace moe {

// y[r] = x[slot[r] / K] for rows in use.
struct GatherRows {
  static constexpr const char* name = "gather_rows";
  static constexpr const char* phase = "dispatch";
  Tensor y_RD;
  const Tensor x_ND;
  const RoutePlan plan;

  void check() const;
  double bytes() const;
};

// y[n] = residual[n] + sum_k weight[n,k] * x[row[n,k]] over the rows kept, in the order of k.
// An empty weight_NK counts as all ones, an empty residual_ND as zero. residual may be y.
struct CombineRows {
  static constexpr const char* name = "combine_rows";
  static constexpr const char* phase = "combine";
  Tensor y_ND;
  const Tensor residual_ND, x_RD, weight_NK;
  const RoutePlan plan;

  void check() const;
  double bytes() const;
};

// h = [gate (F) | up (F)];  a = gate * silu(up)   (the SiLU is on `up`: the user's definition).
struct SwigluForward {
  static constexpr const char* name = "swiglu_forward";
  static constexpr const char* phase = "experts";
  Tensor a_RF;
  const Tensor h_R2F;
  const RoutePlan plan;

  void check() const;
  double bytes() const;
};

// For y = weight * (a W_down^T) combined over k, given da = dy W_down (not yet weighted). So the expert's
// output is never kept (SonicMoE, arXiv 2512.14080). With w = weight of the row:
//   dweight[slot] = <da, a>,  dh = w * d(a)/d(h) * da,  a_out = w * a (for W_down's gradient dy^T a_out).
// dweight of dropped assignments is 0. dh may be h, a_out may be da.
struct SwigluBackward {
  static constexpr const char* name = "swiglu_backward";
  static constexpr const char* phase = "experts";
  Tensor dh_R2F, a_RF, dweight_NK;
  const Tensor da_RF, h_R2F, weight_NK;
  const RoutePlan plan;

  void check() const;
  double bytes() const;
};

// The products of an expert that read rows by token, each with what comes before and after it. Their bodies
// in ops/experts.cpp are made of the operations above: the specification, for devices that have nothing
// faster. rows_RD is memory that they may use, unspecified afterwards.

// h[r] = x[slot[r] / K] w^T and a = gate * silu(up) of the rounded h.
struct ExpertUp {
  static constexpr const char* name = "expert_up";
  static constexpr const char* phase = "experts";
  Tensor h_R2F, a_RF, rows_RD;
  const Tensor x_ND, w_E2FD;
  const RoutePlan plan;

  void check() const;
  double flops() const;
  double bytes() const;
};

// da[r] = dy[slot[r] / K] w, then SwigluBackward. Rounds twice at most: da may be rounded. dh may be h.
struct ExpertDownBackward {
  static constexpr const char* name = "expert_down_backward";
  static constexpr const char* phase = "experts";
  Tensor dh_R2F, a_RF, dweight_NK, rows_RD;
  const Tensor dy_ND, w_EDF, h_R2F, weight_NK;
  const RoutePlan plan;

  void check() const;
  double flops() const;
  double bytes() const;
};

// Per expert, dw = sum over its rows of dy[slot[r] / K]^T a[r]; accumulate: dw +=.
struct ExpertDownGradient {
  static constexpr const char* name = "expert_down_gradient";
  static constexpr const char* phase = "experts";
  Tensor dw_EDF, rows_RD;
  const Tensor dy_ND, a_RF;
  const RoutePlan plan;
  bool accumulate = false;

  void check() const;
  double flops() const;
  double bytes() const;
};

// Per expert, dw = sum over its rows of dh[r]^T x[slot[r] / K]; accumulate: dw +=.
struct ExpertUpGradient {
  static constexpr const char* name = "expert_up_gradient";
  static constexpr const char* phase = "experts";
  Tensor dw_E2FD, rows_RD;
  const Tensor dh_R2F, x_ND;
  const RoutePlan plan;
  bool accumulate = false;

  void check() const;
  double flops() const;
  double bytes() const;
};

}  // namespace moe
