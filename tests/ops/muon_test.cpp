// SPDX-License-Identifier: MIT
// Muon's ops against f64, and what they promise: packed order, matrices that stay, 8-bit momentum. Whole
// steps are held against torch.optim.Muon in tests/optim/muon_test.cpp.
#include "ops/muon.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "support/compare.h"
#include "support/golden.h"

namespace moe {
namespace {

using ::testing::Each;

class MuonTest : public ::testing::Test, public test::Machine {
 protected:
  Tensor scale(float value) { return of<float>(DType::f32, {1}, {value}); }
  static MuonMomentum momentum(Tensor u, Tensor m, const Tensor& gradient, const MatrixStack& stack,
                               const Tensor& scale_1) {
    return {u, m, {}, {}, gradient, {}, scale_1, stack};
  }
  // x of shape [B, M, N] becomes its orthogonal factor.
  void orthogonalise(Tensor x, const NewtonSchulzSteps& steps) {
    const int64_t B = x.dim(0), S = std::min(x.dim(1), x.dim(2));
    ops().newton_schulz({x, zeros(x.dtype(), {B, x.dim(1), x.dim(2)}), zeros(x.dtype(), {B, S, S}),
                         zeros(x.dtype(), {B, S, S}), steps});
  }
};

using Matrix = std::vector<double>;  // row-major

Matrix multiply(const Matrix& a, const Matrix& b, size_t m, size_t k, size_t n) {
  Matrix c(m * n, 0.0);
  for (size_t i = 0; i < m; ++i)
    for (size_t l = 0; l < k; ++l)
      for (size_t j = 0; j < n; ++j) c[i * n + j] += a[i * k + l] * b[l * n + j];
  return c;
}

Matrix transposed(const Matrix& a, size_t m, size_t n) {
  Matrix t(m * n);
  for (size_t i = 0; i < m; ++i)
    for (size_t j = 0; j < n; ++j) t[j * m + i] = a[i * n + j];
  return t;
}

// The definition, written out for one [m, n] matrix.
Matrix reference(Matrix x, size_t m, size_t n, const NewtonSchulzSteps& steps) {
  double squares = 0;
  for (const double v : x) squares += v * v;
  for (double& v : x) v /= std::max(static_cast<double>(steps.safety) * std::sqrt(squares), 1e-7);
  for (int step = 0; step < steps.count; ++step) {
    const auto [a, b, c] = steps.polynomial[static_cast<size_t>(step)];
    const Matrix gram = multiply(x, transposed(x, m, n), m, n, m);
    const Matrix cubic = multiply(gram, x, m, m, n), quintic = multiply(gram, cubic, m, m, n);
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = static_cast<double>(a) * x[i] + static_cast<double>(b) * cubic[i] +
             static_cast<double>(c) * quintic[i];
  }
  return x;
}

// By Jacobi rotations of a symmetric matrix.
std::vector<double> eigenvalues(Matrix a, size_t n) {
  for (int sweep = 0; sweep < 60; ++sweep)
    for (size_t p = 0; p + 1 < n; ++p)
      for (size_t q = p + 1; q < n; ++q) {
        if (a[p * n + q] == 0) continue;
        const double theta = 0.5 * std::atan2(2 * a[p * n + q], a[q * n + q] - a[p * n + p]);
        const double c = std::cos(theta), s = std::sin(theta);
        for (size_t k = 0; k < n; ++k) {
          const double x = a[k * n + p], y = a[k * n + q];
          a[k * n + p] = c * x - s * y, a[k * n + q] = s * x + c * y;
        }
        for (size_t k = 0; k < n; ++k) {
          const double x = a[p * n + k], y = a[q * n + k];
          a[p * n + k] = c * x - s * y, a[q * n + k] = s * x + c * y;
        }
      }
  std::vector<double> diagonal;
  for (size_t i = 0; i < n; ++i) diagonal.push_back(a[i * n + i]);
  return diagonal;
}

Matrix matrix_of(const std::vector<double>& stack, size_t i, size_t elements) {
  return {stack.begin() + static_cast<std::ptrdiff_t>(i * elements),
          stack.begin() + static_cast<std::ptrdiff_t>((i + 1) * elements)};
}

struct Shape {
  int64_t B, M, N;
};
constexpr Shape kShapes[] = {{3, 24, 40}, {2, 40, 24}, {1, 32, 32}, {2, 7, 65}, {2, 130, 70}};
constexpr Shape kLargeShapes[] = {{2, 128, 192}, {1, 256, 256}, {2, 384, 128}};

TEST_F(MuonTest, NewtonSchulzIsThePolynomial) {
  for (const auto& [B, M, N] : kShapes)
    for (const NewtonSchulzSteps& steps :
         {quintic_steps(5), quintic_steps(1), polar_express_steps(5), polar_express_steps(7)}) {
      const Tensor x = normal("x", DType::f32, {B, M, N}, 3e-4F);
      const auto start = values(x);
      orthogonalise(x, steps);
      const auto end = values(x);
      const auto elements = static_cast<size_t>(M * N);
      for (size_t i = 0; i < static_cast<size_t>(B); ++i) {
        const Matrix expected =
            reference(matrix_of(start, i, elements), static_cast<size_t>(M), static_cast<size_t>(N), steps);
        // Each of 3 products a step is good to 1e-11; the slope of the polynomials at 0, 8.2 and 4.0 and
        // 3.9 and 3.3, carries the errors of the first to the end, so that they grow with its square at most
        // twentyfold beside the values, which are about 1.
        EXPECT_LT(test::normalised_error(matrix_of(end, i, elements), expected), 1e-9)
            << B << " x " << M << " x " << N << ", " << steps.count << " steps";
      }
    }
}

// bf16 rounds three results a step, 1e-5 each (ops/ops.h). With singular values up to u = 1.2, b = -2.8 and
// c = 0.5 (the second and third step; the first has small values, the last smaller coefficients) they reach
// X' as (|b| + 2 |c| u^2) u^3 = 7 times that of A, |b u^2 + c u^4| u = 3.6 times that of b A + c A^2, and
// itself: 6e-4 a step. Later steps turn no singular vector back: 3e-3 after five.
TEST_F(MuonTest, NewtonSchulzInBf16) {
  const auto check = [&](const Shape& shape, const NewtonSchulzSteps& steps) {
    const auto& [B, M, N] = shape;
    const Tensor x = normal("x", DType::bf16, {B, M, N});
    const auto start = values(x);
    orthogonalise(x, steps);
    const auto end = values(x);
    const auto elements = static_cast<size_t>(M * N);
    for (size_t i = 0; i < static_cast<size_t>(B); ++i)
      EXPECT_LT(test::normalised_error(matrix_of(end, i, elements),
                                       reference(matrix_of(start, i, elements), static_cast<size_t>(M),
                                                 static_cast<size_t>(N), steps)),
                3e-3)
          << B << " x " << M << " x " << N << ", " << steps.count << " steps";
  };
  for (const Shape& shape : kShapes) check(shape, polar_express_steps(5));
  for (const Shape& shape : kLargeShapes) check(shape, polar_express_steps(2));
}

// Singular values of a Gaussian matrix twice as wide as high are between 0.3 and 1.7 of its rows' length: far
// from the smallest that the iteration reaches.
TEST_F(MuonTest, SingularValuesBecomeOne) {
  for (const bool polar : {false, true}) {
    const Tensor x = normal("x", DType::f32, {1, 24, 48});
    orthogonalise(x, polar ? polar_express_steps(5) : quintic_steps(5));
    const Matrix end = values(x);
    const auto squares = eigenvalues(multiply(end, transposed(end, 24, 48), 24, 48, 24), 24);
    for (const double square : squares) {
      EXPECT_GT(std::sqrt(square), polar ? 0.84 : 0.67);
      EXPECT_LT(std::sqrt(square), 1.16);
    }
  }
}

TEST_F(MuonTest, ATransposedMatrixGivesATransposedResult) {
  const Tensor wide = normal("x", DType::f32, {1, 24, 40});
  const Tensor tall = of<double>(DType::f32, {1, 40, 24}, transposed(values(wide), 24, 40));
  for (const Tensor& x : {wide, tall}) orthogonalise(x, quintic_steps(5));
  EXPECT_LT(test::normalised_error(values(tall), transposed(values(wide), 24, 40)), 1e-10);
}

TEST_F(MuonTest, ZeroStaysZeroAndLengthDoesNotMatter) {
  for (const DType type : {DType::f32, DType::bf16}) {
    std::vector<double> start = values(normal("x", DType::bf16, {3, 16, 24}));
    for (size_t i = 0; i < start.size(); ++i) start[i] *= i < 384 ? 1.0 : i < 768 ? 0.0 : 1.0;
    for (size_t i = 0; i < 384; ++i) start[768 + i] = start[i] * 0x1p-10;  // exact
    const Tensor x = of<double>(type, {3, 16, 24}, start);
    orthogonalise(x, polar_express_steps(5));
    const auto end = values(x);
    EXPECT_THAT(matrix_of(end, 1, 384), Each(0));
    EXPECT_EQ(matrix_of(end, 0, 384), matrix_of(end, 2, 384));
  }
}

TEST_F(MuonTest, NewtonSchulzDoesNotDependOnThreads) {
  test::expect_same_bits([](test::Machine& machine) {
    const Tensor x = machine.normal("x", DType::f32, {3, 130, 300});
    machine.ops().newton_schulz({x, machine.zeros(DType::f32, {3, 130, 300}),
                                 machine.zeros(DType::f32, {3, 130, 130}),
                                 machine.zeros(DType::f32, {3, 130, 130}), quintic_steps(2)});
    return std::vector<Tensor>{x};
  });
}

TEST_F(MuonTest, MomentumIsAnAverageAndLooksAhead) {
  for (const bool nesterov : {true, false})
    for (const DType type : {DType::f32, DType::bf16}) {
      const MatrixStack stack{2, 16, 24};
      const Tensor m = normal("m", DType::f32, {768}), gradient = normal("g", type, {768});
      const auto before = values(m), g = values(gradient);
      const Tensor u = zeros(DType::f32, {768});
      MuonMomentum op = momentum(u, m, gradient, stack, scale(0.5F));
      op.momentum = 0.75F;
      op.nesterov = nesterov;
      ops().muon_momentum(op);
      const auto after = values(m), ahead = values(u);
      for (size_t i = 0; i < 768; ++i) {
        const double moved = 0.75 * before[i] + 0.25 * 0.5 * g[i];
        ASSERT_NEAR(after[i], moved, 1e-6);
        ASSERT_NEAR(ahead[i], nesterov ? 0.75 * moved + 0.25 * 0.5 * g[i] : moved, 1e-6);
      }
    }
}

// Rows a0 a1 b0 b1 a2 a3 b2 b3 become a0 a1 a2 a3 b0 b1 b2 b3, and come back.
TEST_F(MuonTest, MatricesThatTakeTurnsAreTakenApart) {
  for (const int64_t cols : {3, 64}) {
    const MatrixStack stack{2, 4, cols, 2};
    const int64_t n = stack.numel();
    std::vector<float> numbers(static_cast<size_t>(n));
    std::iota(numbers.begin(), numbers.end(), 1.0F);
    const Tensor gradient = of(DType::f32, {n}, numbers), u = zeros(DType::f32, {n});
    MuonMomentum op = momentum(u, zeros(DType::f32, {n}), gradient, stack, scale(1));
    op.momentum = 0;
    op.nesterov = false;
    ops().muon_momentum(op);
    std::vector<double> expected;
    for (const int64_t row : {0, 1, 4, 5, 2, 3, 6, 7})
      for (int64_t i = 0; i < cols; ++i) expected.push_back(static_cast<double>(row * cols + i + 1));
    EXPECT_EQ(values(u), expected);
    const Tensor weight = zeros(DType::f32, {n});
    ops().muon_update({.weight = weight,
                       .compute = {},
                       .x = u,
                       .active_B = {},
                       .scale_1 = scale(1),
                       .stack = stack,
                       .rate = 1,
                       .shape_scale = -1});
    EXPECT_EQ(values(weight), values(gradient));
    const Tensor active = zeros(DType::i32, {2});
    std::vector<float> one(static_cast<size_t>(n), 0.0F);
    one[static_cast<size_t>(3 * cols)] = -1e-30F;  // of b
    ops().matrix_activity({active, of(DType::f32, {n}, one), stack});
    EXPECT_THAT(values(active), ::testing::ElementsAre(0, 1));
  }
}

// The definition, written out; rows of two matrices that take turns keep their own moments.
TEST_F(MuonTest, RowsComeToOneLengthAndTheMatrixKeepsItsNorm) {
  constexpr double kBeta2 = 0.75;
  for (const DType type : {DType::f32, DType::bf16})
    for (const MatrixStack& stack : {MatrixStack{3, 5, 64}, MatrixStack{2, 8, 48, 2}}) {
      const auto rows = static_cast<size_t>(stack.count * stack.rows), cols = static_cast<size_t>(stack.cols);
      const Tensor v = zeros(DType::f32, {stack.count * stack.rows});
      std::vector<double> moments(rows, 0.0);
      for (int step = 0; step < 3; ++step) {
        auto start = values(normal("x" + std::to_string(step), type, {stack.numel()}));
        for (size_t i = 0; i < start.size(); ++i)  // rows of very different lengths, one of them empty
          start[i] *= (i / cols) % 4 == 3 ? 0 : std::exp2(static_cast<double>((i / cols) % 4));
        const Tensor x = of(type, {stack.numel()}, start);
        start = values(x);
        ops().normalise_rows({x, v, {}, scale(1), stack, static_cast<float>(kBeta2)});
        const auto found = values(x);
        for (size_t b = 0; b < static_cast<size_t>(stack.count); ++b) {
          const size_t R = static_cast<size_t>(stack.rows), first = b * R * cols;
          std::vector<double> expected(R * cols);
          double before = 0, after = 0, end = 0;
          for (size_t i = 0; i < R; ++i) {
            double squares = 0;
            for (size_t j = 0; j < cols; ++j) squares += std::pow(start[first + i * cols + j], 2);
            const size_t flat = stack.interleaved == 0 ? b * R + i : (i / 2) * 4 + b * 2 + i % 2;
            double& moment = moments[flat];
            moment = kBeta2 * moment + (1 - kBeta2) * squares / static_cast<double>(cols);
            for (size_t j = 0; j < cols; ++j)
              expected[i * cols + j] = start[first + i * cols + j] / (std::sqrt(moment) + 1e-8);
            before += squares;
          }
          for (const double e : expected) after += e * e;
          for (double& e : expected) e *= std::sqrt(before / after);
          const std::vector<double> matrix(found.begin() + static_cast<std::ptrdiff_t>(first),
                                           found.begin() + static_cast<std::ptrdiff_t>(first + R * cols));
          EXPECT_TRUE(test::close(matrix, expected, type == DType::f32 ? test::kBoundF32 : test::kBoundBf16));
          for (const double f : matrix) end += f * f;
          EXPECT_NEAR(end / before, 1, type == DType::f32 ? 1e-5 : 1e-2);
        }
        EXPECT_TRUE(test::close(values(v), moments, test::kBoundF32));
      }
    }
}

TEST_F(MuonTest, RowsOfIdleMatricesAndSkippedStepsStay) {
  const MatrixStack stack{2, 4, 32};
  const Tensor v = of(DType::f32, {8}, std::vector<double>(8, 0.5)), x = normal("x", DType::f32, {256});
  const auto before = values(x);
  ops().normalise_rows({x, v, {}, scale(-1), stack, 0.9F});
  EXPECT_EQ(values(x), before);
  EXPECT_THAT(values(v), Each(0.5));
  ops().normalise_rows({x, v, of(DType::i32, {2}, std::vector<double>{0, 1}), scale(1), stack, 0.9F});
  const auto after = values(x), moments = values(v);
  for (size_t i = 0; i < 128; ++i) ASSERT_EQ(after[i], before[i]);
  EXPECT_NE(after[128], before[128]);
  EXPECT_EQ(moments[0], 0.5);
  EXPECT_NE(moments[4], 0.5);
  const Tensor nothing = zeros(DType::f32, {256});
  ops().normalise_rows({nothing, v, {}, scale(1), stack, 0.9F});
  EXPECT_THAT(values(nothing), Each(0));
}

// One of three experts has no tokens. Nothing of it moves; with codes, not even by rounding.
TEST_F(MuonTest, AnIdleMatrixStays) {
  for (const int64_t cols : {17, 64})
    for (const bool eight_bit : {false, true}) {
      if (eight_bit && cols != 64) continue;
      const MatrixStack stack{3, 16, cols};
      const int64_t n = stack.numel(), one = stack.elements();
      const Tensor gradient = normal("g", DType::bf16, {n});
      set(gradient.rows(one, 2 * one), std::vector<float>(static_cast<size_t>(one), -0.0F));
      const Tensor active = zeros(DType::i32, {3});
      ops().matrix_activity({active, gradient, stack});
      EXPECT_THAT(values(active), ::testing::ElementsAre(1, 0, 1));
      Tensor m = normal("m", DType::f32, {n}), codes, absmax;
      if (eight_bit) {
        m = {};
        std::vector<uint8_t> some(static_cast<size_t>(n));
        for (size_t i = 0; i < some.size(); ++i) some[i] = static_cast<uint8_t>(i * 7 % 200);
        codes = of(DType::u8, {n}, some);
        absmax = of<float>(DType::f32, {n / 256}, std::vector<float>(static_cast<size_t>(n / 256), 0.3F));
      }
      const Tensor state = eight_bit ? codes : m, u = normal("u", DType::f32, {n});
      const auto before = values(state);
      ops().muon_momentum({.u = u,
                           .m = m,
                           .code_m = codes,
                           .absmax_m = absmax,
                           .gradient = gradient,
                           .active_B = active,
                           .scale_1 = scale(1),
                           .stack = stack});
      const auto after = values(state), ahead = values(u);
      const Tensor weight = normal("w", DType::f32, {n}), compute = normal("c", DType::bf16, {n});
      const auto old = values(weight);
      ops().muon_update({.weight = weight,
                         .compute = compute,
                         .x = u,
                         .active_B = active,
                         .scale_1 = scale(1),
                         .stack = stack,
                         .rate = 0.5F,
                         .weight_decay = 0.5F});
      const auto moved = values(weight);
      int64_t changed = 0;
      for (int64_t i = 0; i < n; ++i) {
        const auto at = static_cast<size_t>(i);
        const bool idle = i / one == 1;
        if (idle) {
          ASSERT_EQ(after[at], before[at]) << i;
          ASSERT_EQ(ahead[at], 0) << i;
          ASSERT_EQ(moved[at], old[at]) << i;
        } else {
          changed += moved[at] != old[at] ? 1 : 0;
        }
      }
      EXPECT_GT(changed, one);
      // What is read in products is the weight, also where it stays.
      if (cols == 17) continue;  // a copy of an idle matrix is not written where whole blocks are left out
      const auto copies = values(compute);
      for (int64_t i = 0; i < one; ++i)
        ASSERT_EQ(
            copies[static_cast<size_t>(i)],
            static_cast<double>(static_cast<float>(bf16(static_cast<float>(moved[static_cast<size_t>(i)])))));
    }
}

TEST_F(MuonTest, EightBitMomentumIsCloseToF32) {
  const MatrixStack stack{2, 16, 64};
  const int64_t n = stack.numel();
  const Tensor codes = of(DType::u8, {n}, std::vector<uint8_t>(static_cast<size_t>(n), 127));
  const Tensor absmax = zeros(DType::f32, {n / 256});
  const Tensor m = zeros(DType::f32, {n}), a = zeros(DType::f32, {n}), b = zeros(DType::f32, {n});
  for (int step = 0; step < 5; ++step) {
    const Tensor gradient = normal("g" + std::to_string(step), DType::f32, {n});
    MuonMomentum op = momentum(a, m, gradient, stack, scale(1));
    op.momentum = 0.9F;
    ops().muon_momentum(op);
    ops().muon_momentum({.u = b,
                         .m = {},
                         .code_m = codes,
                         .absmax_m = absmax,
                         .gradient = gradient,
                         .active_B = {},
                         .scale_1 = scale(1),
                         .stack = stack,
                         .momentum = 0.9F});
  }
  // Codes near the largest magnitude are 1/142 apart (ops/quantise8.h), smaller ones closer: an error of at
  // most 1/284 of it a step, against a root mean square of about a third of it.
  EXPECT_LT(test::normalised_error(values(b), values(a)), 5 * std::pow(3.0 / 284, 2) / 3);
  EXPECT_GT(test::normalised_error(values(b), values(a)), 0);
}

TEST_F(MuonTest, ANegativeScaleChangesNothing) {
  const MatrixStack stack{1, 16, 32};
  const Tensor m = normal("m", DType::f32, {512}), u = normal("u", DType::f32, {512});
  const Tensor weight = normal("w", DType::f32, {512}), gradient = normal("g", DType::f32, {512});
  const auto m_before = values(m), w_before = values(weight);
  ops().muon_momentum(momentum(u, m, gradient, stack, scale(-1)));
  EXPECT_EQ(values(m), m_before);
  EXPECT_THAT(values(u), Each(0));
  ops().muon_update({.weight = weight,
                     .compute = {},
                     .x = gradient,
                     .active_B = {},
                     .scale_1 = scale(-1),
                     .stack = stack,
                     .rate = 1});
  EXPECT_EQ(values(weight), w_before);
}

TEST_F(MuonTest, AGradientThatIsNotFiniteMovesNothing) {
  const MatrixStack stack{1, 16, 16};
  const Tensor m = normal("m", DType::f32, {256}), u = normal("u", DType::f32, {256});
  const Tensor gradient = normal("g", DType::f32, {256});
  set(gradient.rows(3, 4), std::vector<float>{INFINITY});
  set(gradient.rows(5, 6), std::vector<float>{NAN});
  const Tensor active = zeros(DType::i32, {1});
  ops().matrix_activity({active, gradient, stack});
  EXPECT_EQ(values(active)[0], 1);
  ops().muon_momentum({.u = u,
                       .m = m,
                       .code_m = {},
                       .absmax_m = {},
                       .gradient = gradient,
                       .active_B = active,
                       .scale_1 = scale(1),
                       .stack = stack});
  for (const size_t i : {3U, 5U}) {
    EXPECT_EQ(values(m)[i], 0);
    EXPECT_EQ(values(u)[i], 0);
  }
  EXPECT_NE(values(u)[4], 0);
}

TEST_F(MuonTest, CautiousDecayOnlyWhereTheStepShrinksTheWeight) {
  const MatrixStack stack{1, 1, 4};
  for (const bool cautious : {false, true}) {
    const Tensor weight = of<float>(DType::f32, {4}, {1, 1, -1, -1});
    ops().muon_update({.weight = weight,
                       .compute = {},
                       .x = of<float>(DType::f32, {4}, {0.5F, -0.5F, 0.5F, -0.5F}),
                       .active_B = {},
                       .scale_1 = scale(1),
                       .stack = stack,
                       .rate = 0.5F,
                       .weight_decay = 0.25F,
                       .shape_scale = 2,
                       .cautious = cautious});
    const double decay = 0.125, other = cautious ? 0 : decay;
    EXPECT_THAT(values(weight),
                ::testing::ElementsAre(1 - decay - 0.5, 1 - other + 0.5, -1 + other - 0.5, -1 + decay + 0.5));
  }
}

// The mean of many roundings is the number itself, and any division of the tensor gives the same bits.
TEST_F(MuonTest, Bf16WeightsAreRoundedAtRandom) {
  const MatrixStack whole{4, 16, 16};
  const Tensor x = of(DType::f32, {1024}, std::vector<float>(1024, -1.0F));
  const auto update = [&](Tensor weight, const MatrixStack& stack, int64_t first) {
    ops().muon_update({.weight = weight,
                       .compute = {},
                       .x = x.rows(first, first + stack.numel()),
                       .active_B = {},
                       .scale_1 = scale(1),
                       .stack = stack,
                       .rate = 0x1p-9F,  // a quarter of a unit in the last place of 1
                       .step = 3,
                       .seed = 5,
                       .stream = 7,
                       .first = first});
  };
  const std::vector<float> ones(1024, 1.0F);
  const Tensor together = of(DType::bf16, {1024}, ones), apart = of(DType::bf16, {1024}, ones);
  update(together, whole, 0);
  for (int64_t first = 0; first < 1024; first += 256)
    update(apart.rows(first, first + 256), {1, 16, 16}, first);
  EXPECT_EQ(bytes(together), bytes(apart));
  const auto rounded = values(together);
  const double up = static_cast<double>(std::count(rounded.begin(), rounded.end(), 1 + 0x1p-7));
  EXPECT_NEAR(up / 1024, 0.25, 5 * std::sqrt(0.25 * 0.75 / 1024));
}

}  // namespace
}  // namespace moe
