// SPDX-License-Identifier: MIT
// The router: logits, the choice of experts, its losses and their gradient. Letters, types and what holds for
// every op: ops/ops.h.
#pragma once

#include "ops/route_plan.h"
#include "ops/router_rule.h"
#include "tensor/tensor.h"

namespace moe {

// logits = x w^T in f32 whatever the type of x.
struct RouterLogitsForward {
  static constexpr const char* name = "router_logits_forward";
  static constexpr const char* phase = "router";
  Tensor logits_NE;
  const Tensor x_ND, w_ED;

  void check() const;
  double bytes() const;
};

// dx += dlogits w, or, unless add_to_dx, dx = dlogits w;  dw += dlogits^T x.
struct RouterLogitsBackward {
  static constexpr const char* name = "router_logits_backward";
  static constexpr const char* phase = "router";
  Tensor dx_ND, dw_ED;
  const Tensor dlogits_NE, x_ND, w_ED;
  bool add_to_dx = true;

  void check() const;
  double bytes() const;
};

// score = softmax over all E, or the sigmoid of each logit. probability = score / sum over E of score.
// expert = the K of the largest logits in descending order, ties to the lower index. Logits decide, not
// scores: the rounding of these makes ties of its own. With a bias_E (f32 [E]; may be empty) the K of the
// largest score + bias, in that order (DeepSeek-V3, arXiv 2412.19437, equation 16).
// weight = the scores of the chosen experts, without bias, divided by their sum when `renormalise`, times
// `scale`. Sums of sigmoids have RouterRule::kLeastSum added.
// lse = log sum exp of the logits. Padding (doc_start_N = -1): probability 0, expert -1, weight 0, lse 0.
struct Route {
  static constexpr const char* name = "route";
  static constexpr const char* phase = "router";
  Tensor probability_NE, lse_N, expert_NK, weight_NK;
  const Tensor logits_NE, doc_start_N;
  RouterRule rule;
  const Tensor bias_E = {};

  void check() const;
  double bytes() const;
};

// Fills the plan.
struct MakeRoutePlan {
  static constexpr const char* name = "route_plan";
  static constexpr const char* phase = "router";
  RoutePlan plan;
  const Tensor expert_NK;
  Capacity capacity;

  void check() const;
  double bytes() const;
};

// Over the M tokens that are not padding (Tutel's gshard loss and the ST-MoE z-loss, arXiv 2202.08906):
//   P_E[e] = sum_n probability / M,  f_E[e] = top1_count_E[e] / M,
//   loss_2 = { E * sum_e mean * share, sum_n lse^2 / M }.   All f32; zero when M = 0.
struct RouterLosses {
  static constexpr const char* name = "router_losses";
  static constexpr const char* phase = "router";
  Tensor loss_2, P_E, f_E;
  const Tensor probability_NE, lse_N, top1_count_E, doc_start_N;

  void check() const;
  double bytes() const;
};

// dlogits of  sum dweight * weight
//             + scale * (balance_weight * loss_2[0] + z_weight * loss_2[1] + sequence_weight * SequenceLoss).
// f_E and the choices are constants. scale_1 is f32 [1]. Zero for padding. logits_NE: with sigmoid only; no
// softmax can be made of rounded scores. sequence_weight above 0: doc_start_N is [B, T], the rows.
struct RouteBackward {
  static constexpr const char* name = "route_backward";
  static constexpr const char* phase = "router";
  Tensor dlogits_NE;
  const Tensor dweight_NK, probability_NE, lse_N, expert_NK, weight_NK, f_E, doc_start_N, scale_1;
  float balance_weight, z_weight;
  RouterRule rule;
  float sequence_weight = 0;
  const Tensor logits_NE = {};

  void check() const;
  double bytes() const;
};

// RouterLogitsForward and Route of its logits, RouteBackward and RouterLogitsBackward of its dlogits: in
// fewer passes where a device has them. Their bodies in ops/router.cpp are the two.
struct RouterForward {
  static constexpr const char* name = "router_forward";
  static constexpr const char* phase = "router";
  RouterLogitsForward logits;
  Route route;
  bool keep_logits;  // else they are unspecified afterwards

  void check() const;
  double bytes() const;
};

// dlogits are unspecified afterwards. top1_count_E: of the plan. Its sum is the number of tokens that are not
// padding.
struct RouterBackward {
  static constexpr const char* name = "router_backward";
  static constexpr const char* phase = "router";
  RouteBackward route;
  RouterLogitsBackward logits;
  const Tensor top1_count_E;

  void check() const;
  double bytes() const;
};

}  // namespace moe
