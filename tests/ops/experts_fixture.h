// SPDX-License-Identifier: MIT
// The experts' operations that read rows by token: routings of all kinds, and what the operations should
// give, in double precision.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "support/compare.h"
#include "support/fixture.h"
#include "support/reference.h"

namespace moe::test::experts {

inline constexpr int64_t kChoices = 2, kExperts = 5, kNoLimit = Capacity::kNoLimit;

enum class Routing { spread, one_sided, padded };

struct Case {
  const char* name;
  int64_t tokens, d, f, capacity;
  Routing routing;

  int64_t tokens_of_plan() const { return tokens == 0 ? 3 : tokens; }  // 0: nothing but padding
};

// The last expert has no token.
inline std::vector<int> choose(const Case& c, int64_t tokens) {
  const Random random(5, "experts");
  std::vector<int> expert;
  for (int64_t n = 0; n < tokens; ++n) {
    const auto first = c.routing == Routing::one_sided
                           ? 1
                           : static_cast<int>(random.below(static_cast<uint64_t>(n), kExperts - 1));
    const bool padding = c.tokens == 0 || (c.routing == Routing::padded && n % 5 == 2);
    expert.push_back(padding ? -1 : first);
    expert.push_back(padding ? -1 : (first + 1) % (static_cast<int>(kExperts) - 1));
  }
  return expert;
}

inline double silu(double x) {
  return x / (1 + std::exp(-x));
}
inline double silu_slope(double x) {
  const double s = 1 / (1 + std::exp(-x));
  return s + x * s * (1 - s);
}

class ExpertsFixture : public OpsTest {
 public:
  RoutePlan plan_of(const Case& c, int64_t tokens) {
    const int64_t rows = tokens * kChoices;
    RoutePlan plan{zeros(DType::i32, {kExperts + 1}), zeros(DType::i32, {rows}),
                   zeros(DType::i32, {tokens, kChoices}), zeros(DType::i32, {kExperts}),
                   zeros(DType::i32, {kExperts})};
    ops().route_plan(plan, of(DType::i32, {tokens, kChoices}, choose(c, tokens)), {c.capacity});
    return plan;
  }

  // x[slot / K] for the rows in use.
  static Values gathered(const Values& x, const Values& slot, size_t used, size_t width) {
    Values rows;
    for (size_t r = 0; r < used; ++r) {
      const size_t token = static_cast<size_t>(slot[r]) / kChoices;
      rows.insert(rows.end(), x.begin() + static_cast<std::ptrdiff_t>(token * width),
                  x.begin() + static_cast<std::ptrdiff_t>((token + 1) * width));
    }
    return rows;
  }

  // Per expert: rows [begin, end) of a [., k] times its weights, [n, k] if transposed, else [k, n].
  static Values per_expert(const Values& a, const Values& w, const Values& offset, size_t k, size_t n,
                           bool transposed) {
    Values result;
    for (size_t e = 0; e + 1 < offset.size(); ++e) {
      const auto begin = static_cast<size_t>(offset[e]), end = static_cast<size_t>(offset[e + 1]);
      const Values rows(a.begin() + static_cast<std::ptrdiff_t>(begin * k),
                        a.begin() + static_cast<std::ptrdiff_t>(end * k));
      const Values block(w.begin() + static_cast<std::ptrdiff_t>(e * n * k),
                         w.begin() + static_cast<std::ptrdiff_t>((e + 1) * n * k));
      const Values y =
          reference_product(rows, {k}, block, {transposed ? k : n, transposed}, end - begin, n, k);
      result.insert(result.end(), y.begin(), y.end());
    }
    return result;
  }

  // `got` agrees in the rows in use, and the others hold what fill() put there.
  void expect_rows(const Tensor& got, const Values& exact, double bound, const char* what) {
    Values in_use = values(got);
    for (size_t i = exact.size(); i < in_use.size(); ++i)
      ASSERT_EQ(in_use[i], 7) << what << ": a row that is not in use was written";
    in_use.resize(exact.size());
    EXPECT_TRUE(close(in_use, exact, bound)) << what;
  }

  // What expert_up made of x [N, D] and w [E, 2F, D]. of_sums: what the bound has for sums, beside roundings.
  void expect_up(const Tensor& h_R2F, const Tensor& a_RF, const Values& x, const Values& w,
                 const RoutePlan& plan, const Case& c, double of_sums = 0) {
    const double bound = bound_of(h_R2F.dtype());
    const Values offset = values(plan.offset_E1), slot = values(plan.slot_R);
    const auto used = static_cast<size_t>(offset.back()), d = static_cast<size_t>(c.d),
               f = static_cast<size_t>(c.f);
    expect_rows(h_R2F, per_expert(gathered(x, slot, used, d), w, offset, d, 2 * f, true), bound + of_sums,
                "h");
    const Values rounded = values(h_R2F);  // which a is made of
    Values activation(used * f);
    for (size_t r = 0; r < used; ++r)
      for (size_t i = 0; i < f; ++i)
        activation[r * f + i] = rounded[r * 2 * f + i] * silu(rounded[r * 2 * f + f + i]);
    expect_rows(a_RF, activation, bound, "a");
  }

  // What expert_down_backward made of da, by row, and h.
  void expect_down(const Tensor& dh_R2F, const Tensor& a_RF, const Tensor& dweight_NK, const Values& da,
                   const Tensor& h_R2F, const Tensor& weight_NK, const RoutePlan& plan, double of_sums = 0) {
    const DType type = dh_R2F.dtype();
    const double bound = of_sums + (type == DType::f32 ? kBoundF32 : 2 * bound_of(type));
    const Values slot = values(plan.slot_R), hidden = values(h_R2F), weights = values(weight_NK);
    const auto used = static_cast<size_t>(values(plan.offset_E1).back()),
               f = static_cast<size_t>(a_RF.dim(1));
    Values dh(used * 2 * f), a(used * f), dweight(slot.size());
    for (size_t r = 0; r < used; ++r)
      for (size_t i = 0; i < f; ++i) {
        const double gate = hidden[r * 2 * f + i], up = hidden[r * 2 * f + f + i], g = da[r * f + i];
        const auto assignment = static_cast<size_t>(slot[r]);
        const double weight_of_row = weights[assignment];
        dh[r * 2 * f + i] = weight_of_row * g * silu(up);
        dh[r * 2 * f + f + i] = weight_of_row * g * gate * silu_slope(up);
        a[r * f + i] = weight_of_row * gate * silu(up);
        dweight[assignment] += g * gate * silu(up);
      }
    expect_rows(dh_R2F, dh, bound, "dh");
    expect_rows(a_RF, a, bound, "a");
    EXPECT_TRUE(close(values(dweight_NK), dweight, bound)) << "dweight";
  }

  // The bytes of the rows in use.
  std::vector<uint8_t> bytes_in_use(const Tensor& rows, const RoutePlan& plan) {
    auto all = bytes(rows);
    all.resize(static_cast<size_t>(values(plan.offset_E1).back()) * all.size() /
               static_cast<size_t>(rows.dim(0)));
    return all;
  }
};

}  // namespace moe::test::experts
