// SPDX-License-Identifier: MIT
// The operations of generation against the operations that they are made of, and argmax.
#include "ops/decoding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "base/error.h"
#include "support/compare.h"
#include "support/fixture.h"

namespace moe::test {
namespace {

using Values = std::vector<double>;

constexpr float kEps = 1e-5F;

// Both sides round once.
double bound(DType dtype) {
  return 2 * bound_of(dtype);
}

class DecodingTest : public OpsTest {};

struct ProductCase {
  int64_t rows, inner, outer;
};

// One row, parts of and whole tiles, more rows than these kernels take; inner dimensions of less than a step,
// of several chunks, and odd ones.
const std::vector<ProductCase> kProducts = {{1, 64, 40},    {1, 2120, 24}, {5, 1024, 72}, {17, 200, 16},
                                            {33, 72, 2168}, {64, 96, 40},  {65, 64, 24},  {3, 19, 13}};

std::string name_of(const ProductCase& c, DType dtype) {
  return std::to_string(c.rows) + "x" + std::to_string(c.outer) + "x" + std::to_string(c.inner) + " " +
         std::string(moe::name_of(dtype));
}

TEST_F(DecodingTest, NormMatmulIsNormBiasAndProduct) {
  for (const DType dtype : kActivations)
    for (const ProductCase& c : kProducts)
      for (const bool biased : {false, true}) {
        const Tensor norm = zeros(dtype, {c.rows, c.inner}), rstd = zeros(DType::f32, {c.rows});
        const Tensor expected = zeros(dtype, {c.rows, c.outer}), found = zeros(dtype, {c.rows, c.outer});
        NormMatmul op{.c_MN = expected,
                      .norm_MK = norm,
                      .rstd_M = rstd,
                      .x_MK = normal("x", dtype, {c.rows, c.inner}),
                      .w_K = normal("w", DType::f32, {c.inner}),
                      .b_NK = normal("b", dtype, {c.outer, c.inner}),
                      .eps = kEps,
                      .bias_N = biased ? normal("bias", DType::f32, {c.outer}) : Tensor()};
        ops().Ops::norm_matmul(op);
        op.c_MN = found;
        ops().norm_matmul(op);
        // The bias is rounded for itself where it is an operation of its own.
        EXPECT_TRUE(close(values(found), values(expected), (biased ? 2 : 1) * bound(dtype)))
            << name_of(c, dtype);
      }
}

TEST_F(DecodingTest, ProductsOfFewRows) {
  for (const DType dtype : kActivations)
    for (const ProductCase& c : kProducts) {
      const Tensor x = normal("x", dtype, {c.rows, c.inner}), w = normal("w", dtype, {c.outer, c.inner});
      const Tensor addend = normal("addend", dtype, {c.rows, c.outer});
      const Tensor plain = zeros(dtype, {c.rows, c.outer}), sum = zeros(dtype, {c.rows, c.outer});
      ops().matmul(plain, x, w, MatmulLayout::NT, false);
      ops().matmul_add(sum, addend, x, w);
      const Values a = values(x), b = values(w), more = values(addend);
      Values product, with_addend;
      for (int64_t m = 0; m < c.rows; ++m)
        for (int64_t n = 0; n < c.outer; ++n) {
          double value = 0;
          for (int64_t k = 0; k < c.inner; ++k)
            value += a[static_cast<size_t>(m * c.inner + k)] * b[static_cast<size_t>(n * c.inner + k)];
          product.push_back(value);
          with_addend.push_back(value + more[static_cast<size_t>(m * c.outer + n)]);
        }
      EXPECT_TRUE(close(values(plain), product, bound_of(dtype))) << name_of(c, dtype);
      EXPECT_TRUE(close(values(sum), with_addend, bound_of(dtype))) << name_of(c, dtype);
    }
}

// What the other rows are does not change the bits of one.
TEST_F(DecodingTest, ARowOfFewIsAsItIsAlone) {
  for (const DType dtype : kHalves) {
    const Tensor x = normal("x", dtype, {40, 264}), w = normal("w", dtype, {48, 264});
    const Tensor all = zeros(dtype, {40, 48}), one = zeros(dtype, {1, 48});
    ops().matmul(all, x, w, MatmulLayout::NT, false);
    if (test_device() == "cpu") continue;  // a library's products
    for (const int64_t row : {0, 17, 39}) {
      ops().matmul(one, x.rows(row, row + 1), w, MatmulLayout::NT, false);
      EXPECT_EQ(bytes(all.rows(row, row + 1)), bytes(one)) << row;
    }
  }
}

struct StepTensors {
  Tensor y, k_cache, v_cache;
};

class AttentionStepTest : public OpsTest {
 public:
  static constexpr int64_t kCapacity = 300;
  const std::vector<int64_t> places{0, 299, 7, 130};

  StepTensors outputs(DType dtype, const Heads& heads) {
    const auto B = std::ssize(places);
    return {zeros(dtype, {B, heads.query, heads.dim}),
            normal("k cache", dtype, {B, kCapacity, heads.kv, heads.dim}),
            normal("v cache", dtype, {B, kCapacity, heads.kv, heads.dim})};
  }
  Tensor rope(int64_t dim) {
    Values table;
    for (int64_t t = 0; t < kCapacity; ++t)
      for (int64_t i = 0; i < dim; ++i) {
        const double angle =
            static_cast<double>(t) *
            std::pow(100.0, -2.0 * static_cast<double>(i % (dim / 2)) / static_cast<double>(dim));
        table.push_back(i < dim / 2 ? std::cos(angle) : std::sin(angle));
      }
    return of(DType::f32, {kCapacity, dim}, table);
  }
  AttentionStep step(DType dtype, const Heads& heads, int64_t window, const StepTensors& out) {
    const auto B = std::ssize(places);
    const auto weight = [&](const char* name, int64_t width) {
      return width > 0 ? normal(name, DType::f32, {width}) : Tensor();
    };
    return {.y_NHd = out.y,
            .k_cache_BSGd = out.k_cache,
            .v_cache_BSGd = out.v_cache,
            .q_NHd = zeros(dtype, {B, heads.query, heads.dim}),
            .k_NGd = zeros(dtype, {B, heads.kv, heads.dim}),
            .rstd_NJ = heads.norms() > 0 ? zeros(DType::f32, {B, heads.norms()}) : Tensor(),
            .packed_NP = normal("packed", dtype, {B, heads.packed()}),
            .wq_d = weight("wq", heads.query_norm()),
            .wk_d = weight("wk", heads.key_norm()),
            .rope_Td = rope(heads.dim),
            .position_N = of(DType::i32, {B}, places),
            .heads = heads,
            .eps = kEps,
            .window = window};
  }
  void expect_same(DType dtype, const Heads& heads, int64_t window) {
    const std::string what = std::to_string(heads.dim) + " " + std::string(moe::name_of(dtype)) + " " +
                             std::string(moe::name_of(heads.norm)) + (heads.gated ? " gated " : " ") +
                             std::to_string(window);
    const StepTensors expected = outputs(dtype, heads), found = outputs(dtype, heads);
    ops().Ops::attention_step(step(dtype, heads, window, expected));
    ops().attention_step(step(dtype, heads, window, found));
    EXPECT_TRUE(close(values(found.k_cache), values(expected.k_cache), bound_of(dtype))) << what;
    EXPECT_EQ(values(found.v_cache), values(expected.v_cache)) << what;
    // The weights of the keys are rounded there, and here not.
    EXPECT_TRUE(close(values(found.y), values(expected.y), 3 * bound(dtype))) << what;
  }
};

TEST_F(AttentionStepTest, IsNormRopeAndAttention) {
  for (const DType dtype : kActivations)
    for (const int64_t dim : {16, 24, 64, 128}) {
      expect_same(dtype, {4, 2, dim}, 0);
      expect_same(dtype, {2, 2, dim, false, QkNorm::none}, 5);
      expect_same(dtype, {3, 1, dim, true, QkNorm::projection}, 0);
    }
  expect_same(DType::bf16, {2, 1, 32}, 100);
  expect_same(DType::bf16, {2, 1, 256, false}, 0);
}

TEST_F(DecodingTest, NormRouterLogitsAreNormAndProduct) {
  for (const DType dtype : kActivations)
    for (const auto& [n, d, e] : std::vector<std::array<int64_t, 3>>{{1, 1160, 12}, {9, 64, 4}, {3, 30, 5}}) {
      NormRouterLogits op{.logits_NE = zeros(DType::f32, {n, e}),
                          .norm_ND = zeros(dtype, {n, d}),
                          .rstd_N = zeros(DType::f32, {n}),
                          .x_ND = normal("x", dtype, {n, d}),
                          .w_D = normal("w", DType::f32, {d}),
                          .w_ED = normal("router", DType::f32, {e, d}),
                          .eps = kEps};
      ops().Ops::norm_router_logits(op);
      const Values logits = values(op.logits_NE), norm = values(op.norm_ND);
      op.logits_NE = zeros(DType::f32, {n, e});
      op.norm_ND = zeros(dtype, {n, d});
      ops().norm_router_logits(op);
      EXPECT_TRUE(close(values(op.norm_ND), norm, bound_of(dtype)));
      EXPECT_TRUE(close(values(op.logits_NE), logits, bound_of(dtype)));
    }
}

enum class Choice { spread, same, padded };

class ExpertMixtureTest : public OpsTest {
 public:
  Tensor choose(Choice choice, int64_t N, int64_t K, int64_t E) {
    const Random random(5, "experts");
    std::vector<int64_t> expert;
    for (int64_t n = 0; n < N; ++n) {
      const auto first =
          static_cast<int64_t>(random.below(static_cast<uint64_t>(n), static_cast<uint64_t>(E)));
      for (int64_t k = 0; k < K; ++k)
        expert.push_back(choice == Choice::padded && n % 3 == 1 ? -1
                         : choice == Choice::same               ? k
                                                                : (first + k) % E);
    }
    return of(DType::i32, {N, K}, expert);
  }
  void expect_same(DType dtype, Choice choice, int64_t N, int64_t K, int64_t E, int64_t D, int64_t F) {
    const int64_t R = N * K;
    const Tensor residual = normal("residual", dtype, {N, D});
    ExpertMixture op{.y_ND = zeros(dtype, {N, D}),
                     .h_R2F = zeros(dtype, {R, 2 * F}),
                     .a_RF = zeros(dtype, {R, F}),
                     .rows_RD = zeros(dtype, {R, D}),
                     .residual_ND = residual,
                     .x_ND = normal("x", dtype, {N, D}),
                     .expert_NK = choose(choice, N, K, E),
                     .weight_NK = normal("weight", DType::f32, {N, K}),
                     .w_E2FD = normal("up", dtype, {E, 2 * F, D}, 1 / std::sqrt(static_cast<float>(D))),
                     .w_EDF = normal("down", dtype, {E, D, F}, 1 / std::sqrt(static_cast<float>(F))),
                     .plan = {zeros(DType::i32, {E + 1}), zeros(DType::i32, {R}), zeros(DType::i32, {N, K}),
                              zeros(DType::i32, {E}), zeros(DType::i32, {E})}};
    ops().Ops::expert_mixture(op);
    const Values expected = values(op.y_ND);
    op.y_ND = residual;  // in place
    ops().expert_mixture(op);
    // a is rounded in both, of h that may be rounded otherwise; results of experts in one of them.
    EXPECT_TRUE(close(values(op.y_ND), expected, 4 * bound(dtype)))
        << std::string(moe::name_of(dtype)) << " " << N << " tokens, " << K << " of " << E << ", " << D
        << ", " << F << ", choice " << static_cast<int>(choice);
  }
};

TEST_F(ExpertMixtureTest, IsPlanProductsAndCombination) {
  for (const DType dtype : kActivations) {
    expect_same(dtype, Choice::spread, 1, 2, 8, 64, 40);
    expect_same(dtype, Choice::spread, 9, 3, 16, 72, 32);
    expect_same(dtype, Choice::padded, 7, 2, 4, 40, 24);
    expect_same(dtype, Choice::padded, 3, 1, 8, 1080, 16);
    expect_same(dtype, Choice::same, 40, 2, 5, 64, 264);  // more rows than a tile
    expect_same(dtype, Choice::spread, 64, 4, 16, 48, 40);
    expect_same(dtype, Choice::spread, 3, 2, 4, 32, 1048);
    expect_same(dtype, Choice::spread, 5, 2, 6, 30, 19);  // which the fast kernels do not take
  }
}

TEST_F(DecodingTest, ArgmaxIsTheFirstOfTheLargest) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const DType dtype : kActivations) {
    const Tensor index = zeros(DType::i32, {4});
    Values x(4 * 48, -3);
    x[7] = 2, x[30] = 2, x[44] = 9;                      // equals, and one past the columns
    x[48 + 0] = 5, x[48 + 39] = 4;                       // the first is left out below
    for (size_t i = 96; i < 144; ++i) x[i] = -infinity;  // nothing is above that
    x[144 + 3] = std::nan(""), x[144 + 39] = -2;
    const Tensor logits = of(dtype, {4, 48}, x);
    ops().argmax({index, logits, 40});
    EXPECT_EQ(values(index), (Values{7, 0, 0, 39})) << std::string(moe::name_of(dtype));
    ops().argmax({index, logits, 40, 0});
    EXPECT_EQ(values(index), (Values{7, 39, 1, 39}));
    const Tensor odd = of(dtype, {1, 13}, Values{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
    ops().argmax({index.rows(0, 1), odd, 13, 12});
    EXPECT_EQ(values(index).front(), 11);
  }
  const Tensor index = zeros(DType::i32, {1}), row = zeros(DType::f32, {1, 8});
  EXPECT_THROW(ops().argmax({index, row, 9}), InternalError);
  EXPECT_THROW(ops().argmax({zeros(DType::i32, {2}), row, 8}), InternalError);
}

TEST_F(DecodingTest, RefusesWrongShapes) {
  const Tensor x = zeros(DType::f32, {2, 8}), norm = zeros(DType::f32, {2, 8}), rstd = zeros(DType::f32, {2}),
               w = zeros(DType::f32, {8}), b = zeros(DType::f32, {16, 8}), c = zeros(DType::f32, {2, 16});
  EXPECT_NO_THROW(ops().norm_matmul({c, norm, rstd, x, w, b, kEps}));
  EXPECT_THROW(ops().norm_matmul({norm, norm, rstd, x, w, b, kEps}), InternalError);
  EXPECT_THROW(ops().norm_matmul({c, norm, rstd, x, w, b, kEps, w}), InternalError);
  EXPECT_THROW(ops().norm_router_logits({c, norm, rstd, x, rstd, b, kEps}), InternalError);
}

}  // namespace
}  // namespace moe::test
