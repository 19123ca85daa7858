// SPDX-License-Identifier: MIT
// A sum of rows with the norm beside it, against the two operations that it stands for.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "base/error.h"
#include "support/compare.h"
#include "support/golden.h"

namespace moe::test {
namespace {

constexpr float kEps = 1e-5F;
constexpr int64_t kExperts = 5;

struct Shape {
  int64_t n, k, d;
};
// One piece of a row, several, two for a lane of a warp, longer than registers hold, and not aligned; more
// tokens than a GPU has blocks.
constexpr Shape kShapes[] = {{400, 2, 8}, {37, 3, 264}, {9, 1, 1024}, {5, 2, 2056}, {3, 8, 2048}, {7, 2, 33}};

class CombineNormTest : public OpsTest {
 public:
  // Some tokens are padding, and some choices find no room.
  RoutePlan plan_of(const Shape& shape) {
    const RoutePlan plan = {zeros(DType::i32, {kExperts + 1}), zeros(DType::i32, {shape.n * shape.k}),
                            zeros(DType::i32, {shape.n, shape.k}), zeros(DType::i32, {kExperts}),
                            zeros(DType::i32, {kExperts})};
    std::vector<int> expert;
    for (int64_t t = 0; t < shape.n; ++t)
      for (int64_t j = 0; j < shape.k; ++j)
        expert.push_back(t % 5 == 2 ? -1 : static_cast<int>((t * 7 + j) % kExperts));
    ops().route_plan(plan, of(DType::i32, {shape.n, shape.k}, expert), {shape.n * shape.k / kExperts + 1});
    return plan;
  }
};

TEST_F(CombineNormTest, ForwardIsTheSumAndItsNormAlsoInPlace) {
  for (const DType dtype : kActivations)
    for (const Shape& s : kShapes) {
      const RoutePlan plan = plan_of(s);
      const Tensor rows = normal("rows", dtype, {s.n * s.k, s.d}), w = normal("w", DType::f32, {s.d});
      const Tensor residual = normal("residual", dtype, {s.n, s.d});
      const Tensor weight = normal("weight", DType::f32, {s.n, s.k});
      const Tensor y = zeros(dtype, {s.n, s.d}), norm = zeros(dtype, {s.n, s.d});
      const Tensor rstd = zeros(DType::f32, {s.n});
      ops().combine_norm_forward({{y, residual, rows, weight, plan}, {norm, rstd, y, w, kEps}});
      const Tensor sum = zeros(dtype, {s.n, s.d}), alone = zeros(dtype, {s.n, s.d});
      const Tensor rstd_alone = zeros(DType::f32, {s.n});
      ops().combine_rows({sum, residual, rows, weight, plan});
      EXPECT_TRUE(close(values(y), values(sum), bound_of(dtype))) << s.d;
      ops().rms_norm_forward(alone, rstd_alone, y, w, kEps);
      EXPECT_TRUE(close(values(norm), values(alone), bound_of(dtype))) << s.d;
      EXPECT_TRUE(close(values(rstd), values(rstd_alone), kBoundF32)) << s.d;
      const Tensor here = of(dtype, {s.n, s.d}, values(residual));
      ops().combine_norm_forward({{here, here, rows, weight, plan}, {alone, rstd_alone, here, w, kEps}});
      EXPECT_EQ(bytes(here), bytes(y));
      EXPECT_EQ(bytes(alone), bytes(norm));
    }
}

TEST_F(CombineNormTest, BackwardIsTheNormsOfTheSum) {
  for (const DType dtype : kActivations)
    for (const Shape& s : kShapes) {
      const RoutePlan plan = plan_of(s);
      const Tensor rows = normal("rows", dtype, {s.n * s.k, s.d}), w = normal("w", DType::f32, {s.d});
      const Tensor x = normal("x", dtype, {s.n, s.d}), addend = normal("addend", dtype, {s.n, s.d});
      const Tensor rstd = normal("rstd", DType::f32, {s.n}), d = normal("d", dtype, {s.n, s.d});
      // In f32 on the same inputs.
      const auto wide = [&](const Tensor& t) { return of(DType::f32, {t.dim(0), t.dim(1)}, values(t)); };
      const Tensor dy = wide(addend), dx = wide(d), dw = normal("dw", DType::f32, {s.d});
      ops().combine_rows({dy, dy, wide(rows), {}, plan});
      ops().rms_norm_backward({dx, dw, dy, dx, wide(x), w, rstd});
      const Tensor both_dw = normal("dw", DType::f32, {s.d});
      ops().combine_norm_backward({{addend, addend, rows, {}, plan}, {d, both_dw, addend, d, x, w, rstd}});
      // A sum that is rounded between the two carries on as a second rounding.
      EXPECT_TRUE(close(values(d), values(dx), 2 * bound_of(dtype))) << s.d;
      EXPECT_TRUE(close(values(both_dw), values(dw), dtype == DType::f32 ? kBoundF32 : bound_of(dtype)))
          << s.d;
    }
}

TEST_F(CombineNormTest, RowsThatNobodyChoseDoNotCount) {
  const Shape s{2, 2, 64};
  const RoutePlan plan = plan_of(s);
  set(plan.row_NK, std::vector<int>{1, -1, -1, -1});
  std::vector<double> rows(static_cast<size_t>(4 * s.d), std::numeric_limits<double>::quiet_NaN());
  std::fill(rows.begin() + s.d, rows.begin() + 2 * s.d, 0.5);
  const Tensor x = of(DType::bf16, {4, s.d}, rows), w = zeros(DType::f32, {s.d}),
               norm = zeros(DType::bf16, {2, s.d});
  const Tensor y = zeros(DType::bf16, {2, s.d}), rstd = zeros(DType::f32, {2});
  ops().combine_norm_forward({{y, {}, x, {}, plan}, {norm, rstd, y, w, kEps}});
  std::vector<double> expected(static_cast<size_t>(2 * s.d));
  std::fill(expected.begin(), expected.begin() + s.d, 0.5);
  EXPECT_EQ(values(y), expected);
  const Tensor d = zeros(DType::bf16, {2, s.d}), dw = zeros(DType::f32, {s.d});
  ops().combine_norm_backward({{y, y, x, {}, plan}, {d, dw, y, d, norm, w, rstd}});
  EXPECT_EQ(values(d), std::vector<double>(expected.size()));
}

TEST_F(CombineNormTest, SameBitsWithAnyNumberOfThreads) {
  expect_same_bits([](Machine& machine) {
    const int64_t n = 300, d = 40;
    const RoutePlan plan = {machine.zeros(DType::i32, {3}), machine.zeros(DType::i32, {n}),
                            machine.zeros(DType::i32, {n, 1}), machine.zeros(DType::i32, {2}),
                            machine.zeros(DType::i32, {2})};
    machine.ops().route_plan(plan, machine.zeros(DType::i32, {n, 1}), {});
    const Tensor rows = machine.normal("rows", DType::bf16, {n, d}), w = machine.normal("w", DType::f32, {d});
    const Tensor y = machine.normal("y", DType::bf16, {n, d}), norm = machine.zeros(DType::bf16, {n, d});
    const Tensor rstd = machine.zeros(DType::f32, {n}), dw = machine.zeros(DType::f32, {d});
    machine.ops().combine_norm_forward({{y, y, rows, {}, plan}, {norm, rstd, y, w, kEps}});
    const Tensor dx = machine.zeros(DType::bf16, {n, d});
    machine.ops().combine_norm_backward({{norm, norm, rows, {}, plan}, {dx, dw, norm, {}, y, w, rstd}});
    return std::vector{y, rstd, dx, dw};
  });
}

TEST_F(CombineNormTest, RefusesANormOfSomethingElse) {
  const Shape s{4, 2, 8};
  const RoutePlan plan = plan_of(s);
  const Tensor rows = zeros(DType::f32, {8, 8}), y = zeros(DType::f32, {4, 8}),
               other = zeros(DType::f32, {4, 8});
  const Tensor w = zeros(DType::f32, {8}), rstd = zeros(DType::f32, {4});
  EXPECT_NO_THROW(ops().combine_norm_forward({{y, {}, rows, {}, plan}, {other, rstd, y, w, kEps}}));
  EXPECT_THROW(ops().combine_norm_forward({{y, {}, rows, {}, plan}, {y, rstd, other, w, kEps}}),
               InternalError);
  EXPECT_NO_THROW(
      ops().combine_norm_backward({{y, y, rows, {}, plan}, {other, w, y, {}, rows.rows(0, 4), w, rstd}}));
  EXPECT_THROW(
      ops().combine_norm_backward({{y, y, rows, {}, plan}, {y, w, other, {}, rows.rows(0, 4), w, rstd}}),
      InternalError);
}

}  // namespace
}  // namespace moe::test
