// SPDX-License-Identifier: MIT
// Sums whose exact values are known, and the clipping factor at its corners.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "support/golden.h"

namespace moe::test {
namespace {

class ReduceTest : public OpsTest {
 public:
  float clip(const std::vector<double>& squares, float max_norm, float loss_scale = 1) {
    const Tensor scale = zeros(DType::f32, {1});
    ops().clip_scale(scale, of(DType::f64, {static_cast<int64_t>(squares.size())}, squares), max_norm,
                     loss_scale);
    return static_cast<float>(values(scale)[0]);
  }
};

// Whole numbers: every partial sum is exact, so any element left out or taken twice shows.
TEST_F(ReduceTest, SumsEveryElementOnceAndAddsToWhatIsThere) {
  for (const int64_t n : {1, 7, 33, 16384, 50001}) {
    std::vector<double> x(static_cast<size_t>(n));
    double sum = 5, squares = 11;
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<double>(i % 97) - 31;
      sum += x[i];
      squares += x[i] * x[i];
    }
    const Tensor input = of(DType::f32, {n}, x), total = of<double>(DType::f64, {1}, {5});
    const Tensor total_squares = of<double>(DType::f64, {1}, {11});
    ops().sum(total, input);
    ops().sum_squares(total_squares, input);
    EXPECT_EQ(values(total)[0], sum);
    EXPECT_EQ(values(total_squares)[0], squares);
  }
}

TEST_F(ReduceTest, SumsInF64) {
  std::vector<float> x(40000, 1e-4F);
  x[0] = 1e7F;
  const Tensor total = zeros(DType::f64, {1}), squares = zeros(DType::f64, {1});
  const Tensor input = of(DType::f32, {200, 200}, x);
  ops().sum(total, input);
  EXPECT_NEAR(values(total)[0], 1e7 + 39999 * static_cast<double>(1e-4F), 1e-5);  // f32 cannot say 1e7 + 0.5
  ops().sum_squares(squares, of<float>(DType::f32, {2}, {3e30F, 4e30F}));         // beyond f32
  EXPECT_NEAR(values(squares)[0] / 25e60, 1, 1e-6);
}

TEST_F(ReduceTest, ClipsToTheNormAndMarksWhatIsNotFinite) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FLOAT_EQ(clip({9, 16}, 1), 1 / (5 + 1e-6F));
  EXPECT_FLOAT_EQ(clip({1e-12}, 1e-7F), 1e-7F / 2e-6F);
  EXPECT_EQ(clip({0.09, 0.16}, 1), 1);
  EXPECT_EQ(clip({0}, 1), 1);
  EXPECT_EQ(clip({9e9}, 0), 1);
  EXPECT_EQ(clip({1, inf}, 1), -1);
  EXPECT_EQ(clip({1, nan}, 1), -1);
  EXPECT_EQ(clip({inf}, 0), -1);
}

TEST_F(ReduceTest, SameBitsWithAnyNumberOfThreads) {
  expect_same_bits([](Machine& machine) {
    const Tensor x = machine.normal("x", DType::f32, {70001});
    const Tensor sum = machine.zeros(DType::f64, {1}), squares = machine.zeros(DType::f64, {1});
    machine.ops().sum(sum, x);
    machine.ops().sum_squares(squares, x);
    return std::vector{sum, squares};
  });
}

// A factor of two on all gradients changes nothing but the factor that takes it back.
TEST_F(ReduceTest, ClipScaleTakesTheLossScaleBack) {
  for (const float max_norm : {0.0F, 1.0F, 20.0F}) {
    const float alone = clip({9, 16, 75}, max_norm);
    for (const float factor : {0x1p-3F, 0x1p16F, 0x1p32F}) {
      const double squared = static_cast<double>(factor) * static_cast<double>(factor);
      EXPECT_EQ(clip({9 * squared, 16 * squared, 75 * squared}, max_norm, factor), alone / factor);
    }
  }
  EXPECT_EQ(clip({std::numeric_limits<double>::infinity()}, 1, 65536), -1);
}

TEST_F(ReduceTest, RefusesWrongShapesAndTypes) {
  const Tensor one = zeros(DType::f64, {1}), x = zeros(DType::f32, {3});
  EXPECT_THROW(ops().sum(zeros(DType::f32, {1}), x), InternalError);
  EXPECT_THROW(ops().sum(zeros(DType::f64, {2}), x), InternalError);
  EXPECT_THROW(ops().sum(one, zeros(DType::bf16, {3})), InternalError);
  EXPECT_THROW(ops().sum_squares(one, Tensor()), InternalError);
  EXPECT_THROW(ops().clip_scale(one, one, 1, 1), InternalError);
  EXPECT_THROW(ops().clip_scale(zeros(DType::f32, {1}), x, 1, 1), InternalError);
  EXPECT_THROW(clip({1}, -1), InternalError);
  EXPECT_THROW(clip({1}, 1, 0), InternalError);
}

// The rule written down once more, over all values and not over a ring.
bool is_spike(const std::vector<double>& before, size_t H, double now, double sigma) {
  const size_t n = std::min(before.size(), H);
  if (n < H / 2) return false;
  const std::vector<double> last(before.end() - static_cast<std::ptrdiff_t>(n), before.end());
  const double mean = std::accumulate(last.begin(), last.end(), 0.0) / static_cast<double>(n);
  double squares = 0;
  for (const double x : last) squares += (x - mean) * (x - mean);
  return now > mean + sigma * std::sqrt(squares / static_cast<double>(n - 1));
}

TEST_F(ReduceTest, SpikeGuardSkipsWhatIsFarAboveTheLastSteps) {
  constexpr int64_t kH = 8, kTargets = 4;
  constexpr double kSigma = 3;
  constexpr float kScale = 16;
  const Tensor history = zeros(DType::f64, {2, kH}), seen = zeros(DType::i32, {1});
  const Tensor scale = zeros(DType::f32, {1});
  std::vector<double> losses, norms;
  int64_t skipped = 0, in_the_beginning = 0;
  for (int step = 0; step < 40; ++step) {
    // A wave with spikes: of the loss at 2 (too early) and 17, of the norm at 25 and 26, a fall at 33.
    const double wave = 0.25 * std::sin(step), loss = 3 + wave + (step == 2 || step == 17 ? 9 : 0);
    const double norm = 1 - wave + (step == 25 || step == 26 ? 5 : 0) - (step == 33 ? 0.9 : 0);
    ops().fill(scale, 0.5F);
    const double square = norm * kScale * norm * kScale;
    ops().spike_guard({.scale_1 = scale,
                       .history_2H = history,
                       .seen_1 = seen,
                       .loss_sum_1 = of<double>(DType::f64, {1}, {loss * kTargets}),
                       .squares_n = of<double>(DType::f64, {2}, {square / 4, square * 3 / 4}),
                       .targets = kTargets,
                       .loss_scale = kScale,
                       .sigma = kSigma});
    const bool spike = is_spike(losses, kH, loss, kSigma) || is_spike(norms, kH, norm, kSigma);
    EXPECT_EQ(values(scale)[0], spike ? SpikeGuard::kSkip : 0.5) << step;
    skipped += spike ? 1 : 0;
    in_the_beginning += spike && step < kH / 2 ? 1 : 0;
    losses.push_back(loss);
    norms.push_back(norm);
  }
  EXPECT_EQ(skipped, 2);  // 17 and 25: after 25 the spread is so wide that 26 is none
  EXPECT_EQ(in_the_beginning, 0);
  EXPECT_EQ(values(seen)[0], 40);
}

TEST_F(ReduceTest, SpikeGuardLeavesStepsThatAreNotFinite) {
  const Tensor history = zeros(DType::f64, {2, 4}), seen = zeros(DType::i32, {1});
  const Tensor scale = of<float>(DType::f32, {1}, {-1});
  ops().spike_guard({.scale_1 = scale,
                     .history_2H = history,
                     .seen_1 = seen,
                     .loss_sum_1 = of<double>(DType::f64, {1}, {std::numeric_limits<double>::quiet_NaN()}),
                     .squares_n = of<double>(DType::f64, {1}, {1}),
                     .targets = 1,
                     .loss_scale = 1,
                     .sigma = 1});
  EXPECT_EQ(values(scale)[0], -1);
  EXPECT_EQ(values(seen)[0], 0);
}

}  // namespace
}  // namespace moe::test
