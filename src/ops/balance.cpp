// SPDX-License-Identifier: MIT
#include "ops/balance.h"

#include "ops/cost.h"
#include "ops/expect.h"

namespace moe {

void SequenceLoss::check() const {
  CHECK(probability_NE.rank() == 2 && expert_NK.rank() == 2 && doc_start_BT.rank() == 2,
        "sequence_loss: probability, expert and first must be matrices");
  const int64_t n = doc_start_BT.numel(), k = expert_NK.dim(1);
  expect(loss_1, "sequence_loss: loss", DType::f32, {1});
  expect(probability_NE, "sequence_loss: probability", DType::f32, {n, probability_NE.dim(1)});
  expect(expert_NK, "sequence_loss: expert", DType::i32, {n, k});
  expect_numel(doc_start_BT, "sequence_loss: first", DType::i32, n);
}

double SequenceLoss::bytes() const {
  return bytes_of({loss_1, probability_NE, expert_NK, doc_start_BT});
}

void BalanceSums::check() const {
  const int64_t e = P_E.numel();
  expect_numel(first_E, "balance_sums: first", DType::i32, e);
  expect_numel(sum_E1, "balance_sums: sum", DType::f64, e + 1);
  expect(top1_count_E, "balance_sums: first choices", DType::i32, {e});
  expect(P_E, "balance_sums: mean", DType::f32, {e});
  expect(loss_2, "balance_sums: loss", DType::f32, {2});
}

double BalanceSums::bytes() const {
  return bytes_of({first_E, first_E, sum_E1, sum_E1, top1_count_E, P_E});
}

void BalanceShares::check() const {
  CHECK(first_LE.rank() == 2, "balance_shares: first must be a matrix");
  expect(first_LE, "balance_shares: first", DType::i32, {first_LE.dim(0), first_LE.dim(1)});
  expect(share_LE, "balance_shares: share", DType::f32, {first_LE.dim(0), first_LE.dim(1)});
  if (!clip_scale_1.empty()) expect(clip_scale_1, "balance_shares: scale", DType::f32, {1});
}

double BalanceShares::bytes() const {
  return bytes_of({share_LE, first_LE});
}

void RouterBias::check() const {
  expect(bias_E, "router_bias: bias", DType::f32, {bias_E.numel()});
  expect_numel(count_E, "router_bias: count", DType::i32, bias_E.numel());
  expect(clip_scale_1, "router_bias: scale", DType::f32, {1});
}

double RouterBias::bytes() const {
  return bytes_of({bias_E, bias_E, count_E});
}

}  // namespace moe
