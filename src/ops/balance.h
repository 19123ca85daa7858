// SPDX-License-Identifier: MIT
// What keeps experts equally busy beside the losses in ops/router.h: a balance loss of each row, the shares
// of a whole step, and biases of the choice. Letters, types and what holds for every op: ops/ops.h.
#pragma once

#include "tensor/tensor.h"

namespace moe {

// The sequence-wise balance loss (DeepSeek-V3, arXiv 2412.19437, equations 17 to 20). For each of the M rows
// that have tokens, T' of them not padding:
//   f_e = E / (K T') * choices of e in the row,  P_e = 1 / T' * sum of the probabilities,
//   loss_1 = mean over the M rows of sum_e f_e P_e;  0 when M = 0.
// The choices are those of expert_NK, a bias included. doc_start_BT as in Route; N = B T.
struct SequenceLoss {
  static constexpr const char* name = "sequence_loss";
  static constexpr const char* phase = "router";
  Tensor loss_1;
  const Tensor probability_NE, expert_NK, doc_start_BT;

  void check() const;
  double bytes() const;
};

// Adds a micro-batch to the sums of its step, over its M = sum_e top1_count_E tokens. P_E and loss_2 are
// those of RouterLosses.
//   first_E += top1_count_E (i32);  sum_E1[e] += M P_E[e],  sum_E1[E] += M loss_2[1] (f64).
struct BalanceSums {
  static constexpr const char* name = "balance_sums";
  static constexpr const char* phase = "router";
  Tensor first_E, sum_E1;
  const Tensor top1_count_E, P_E, loss_2;

  void check() const;
  double bytes() const;
};

// share_LE[l, e] = first_LE[l, e] / max(1, sum_e first_LE[l, e]): shares of first choices, f32 from i32.
// No change where clip_scale_1 (f32 [1]; may be empty) is below 0: the step is skipped.
struct BalanceShares {
  static constexpr const char* name = "balance_shares";
  static constexpr const char* phase = "router";
  Tensor share_LE;
  const Tensor first_LE, clip_scale_1 = {};

  void check() const;
  double bytes() const;
};

// bias += rate * sign(mean(count) - count), then bias -= mean(bias) (Wang et al., arXiv 2408.15664, algorithm
// 1, and DeepSeek-V3). count_E (i32): choices of the whole step; the sign is of whole numbers, and exact. The
// mean of the bias is summed in f64. No change where clip_scale_1 (f32 [1]) is below 0: the step is skipped.
struct RouterBias {
  static constexpr const char* name = "router_bias";
  static constexpr const char* phase = "router";
  Tensor bias_E;
  const Tensor count_E, clip_scale_1;
  float rate;

  void check() const;
  double bytes() const;
};

}  // namespace moe
