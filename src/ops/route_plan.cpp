// SPDX-License-Identifier: MIT
#include "ops/route_plan.h"

#include "ops/expect.h"

namespace moe {

void check_plan(const RoutePlan& plan, int64_t rows) {
  CHECK(plan.count_E.rank() == 1, "route plan: count must be a vector");
  const int64_t e = plan.count_E.dim(0);
  expect(plan.count_E, "route plan: count", DType::i32, {e});
  expect(plan.top1_count_E, "route plan: first", DType::i32, {e});
  expect(plan.offset_E1, "route plan: offset", DType::i32, {e + 1});
  expect_numel(plan.slot_R, "route plan: slot", DType::i32, rows);
  expect_numel(plan.row_NK, "route plan: row", DType::i32, rows);
}

}  // namespace moe
