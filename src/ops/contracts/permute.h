// SPDX-License-Identifier: MIT
// Shapes and types of the plan that sends rows to experts, and of the two moves it drives.
#pragma once

#include "ops/contracts/expect.h"
#include "ops/ops.h"

namespace moe::contracts {

// The parts of a plan agree with each other. rows: R = N*K.
inline void check_plan(const RoutePlan& plan, int64_t rows) {
  CHECK(plan.count_E.rank() == 1, "route plan: count must be a vector");
  const int64_t e = plan.count_E.dim(0);
  expect(plan.count_E, "route plan: count", DType::i32, {e});
  expect(plan.top1_count_E, "route plan: first", DType::i32, {e});
  expect(plan.offset_E1, "route plan: offset", DType::i32, {e + 1});
  expect_numel(plan.slot_R, "route plan: slot", DType::i32, rows);
  expect_numel(plan.row_NK, "route plan: row", DType::i32, rows);
}

inline void check_route_plan(const RoutePlan& plan, const Tensor& expert_NK, const Capacity& capacity) {
  CHECK(expert_NK.rank() == 2 && expert_NK.dtype() == DType::i32, "route_plan: expert must be an i32 matrix");
  CHECK(capacity.rows >= 1, "route_plan: an expert without room");
  CHECK(capacity.tokens >= 0, "route_plan: capacity of a negative number of tokens");
  CHECK(capacity.tokens == 0 || expert_NK.dim(0) % capacity.tokens == 0,
        "route_plan: capacity of tokens that do not divide all");
  check_plan(plan, expert_NK.numel());
}

inline void check_gather_rows(const Tensor& y_RD, const Tensor& x_ND, const RoutePlan& plan) {
  const DType type = expect_activation(x_ND, "gather_rows: x", 2);
  check_plan(plan, plan.row_NK.numel());
  const int64_t rows = plan.row_NK.numel(), n = x_ND.dim(0);
  CHECK(n == 0 ? rows == 0 : rows % n == 0, "gather_rows: x does not have the plan's tokens");
  expect(y_RD, "gather_rows: y", type, {rows, x_ND.dim(1)});
}

inline void check_combine_rows(const Tensor& y_ND, const Tensor& residual_ND, const Tensor& x_RD,
                               const Tensor& weight_NK, const RoutePlan& plan) {
  const DType type = expect_activation(y_ND, "combine_rows: y", 2);
  check_plan(plan, plan.row_NK.numel());
  const int64_t rows = plan.row_NK.numel(), n = y_ND.dim(0);
  CHECK(n == 0 ? rows == 0 : rows % n == 0, "combine_rows: y does not have the plan's tokens");
  expect(x_RD, "combine_rows: x", type, {rows, y_ND.dim(1)});
  if (!residual_ND.empty()) expect(residual_ND, "combine_rows: residual", type, {n, y_ND.dim(1)});
  if (!weight_NK.empty()) expect_numel(weight_NK, "combine_rows: weight", DType::f32, rows);
}

}  // namespace moe::contracts
