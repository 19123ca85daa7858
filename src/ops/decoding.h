// SPDX-License-Identifier: MIT
// What generation does for the next token of each sequence: few rows, so the time is that of starting kernels
// and of reading weights. Each op joins neighbours of a layer. Their bodies in ops/decoding.cpp, made of the
// other operations, are the specification; a device may have faster ones for few rows. Tensors named scratch
// are memory that an op may use, unspecified afterwards. Letters, types and what holds for every op:
// ops/ops.h.
#pragma once

#include "ops/attention.h"
#include "ops/route_plan.h"
#include "tensor/tensor.h"

namespace moe {

// c = norm(x) b^T + bias, with RmsNormForward of weight w, rounded. bias_N f32 may be empty.
// scratch: norm_MK as x, rstd_M f32.
struct NormMatmul {
  static constexpr const char* name = "norm_matmul";
  static constexpr const char* phase = "projections";
  Tensor c_MN, norm_MK, rstd_M;
  const Tensor x_MK, w_K, b_NK;
  float eps;
  const Tensor bias_N = {};

  void check() const;
  double flops() const;
  double bytes() const;
};

// QkNormRopeForward, then AttentionCached of one token of each sequence: N = B. position_N is the row of the
// table and the place in the cache. scratch: q, k and rstd.
struct AttentionStep {
  static constexpr const char* name = "attention_step";
  static constexpr const char* phase = "attention";
  Tensor y_NHd, k_cache_BSGd, v_cache_BSGd, q_NHd, k_NGd, rstd_NJ;
  const Tensor packed_NP, wq_d, wk_d, rope_Td, position_N;
  Heads heads;
  float eps;
  int64_t window = 0;

  QkNormRopeForward qk_norm_rope() const;
  AttentionCached attention() const;
  void check() const;
  double bytes() const;
};

// norm = RmsNormForward of x with weight w, rounded; logits = norm w_ED^T in f32. scratch: rstd.
struct NormRouterLogits {
  static constexpr const char* name = "norm_router_logits";
  static constexpr const char* phase = "router";
  Tensor logits_NE, norm_ND, rstd_N;
  const Tensor x_ND, w_D, w_ED;
  float eps;

  void check() const;
  double bytes() const;
};

// y[n] = residual[n] + sum_k weight[n,k] f(x[n]) with the SwiGLU f of expert[n,k], without a capacity:
// ExpertUp, GroupedMatmul and CombineRows. expert -1: nothing. No token has an expert twice. residual may be
// y. Rounds each expert's result, or not.
// scratch: h, a, rows and the plan.
struct ExpertMixture {
  static constexpr const char* name = "expert_mixture";
  static constexpr const char* phase = "experts";
  Tensor y_ND, h_R2F, a_RF, rows_RD;
  const Tensor residual_ND, x_ND, expert_NK, weight_NK, w_E2FD, w_EDF;
  RoutePlan plan;

  void check() const;
  double flops() const;
  double bytes() const;
};

// index[n] = where x[n, :columns] is largest, the lowest place of equals. `except`: a column that is left
// out; -1: none. index_N i32. columns - 1 others at least. NaN is not larger than anything.
struct Argmax {
  static constexpr const char* name = "argmax";
  static constexpr const char* phase = "head";
  Tensor index_N;
  const Tensor x_NV;
  int64_t columns;
  int64_t except = -1;

  void check() const;
  double bytes() const;
};

}  // namespace moe
