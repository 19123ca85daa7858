// SPDX-License-Identifier: MIT
// Both AdamW steps with bf16 weights, which are rounded at random (ops/stochastic_rounding.h), and bf16
// gradients.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/random.h"
#include "ops/stochastic_rounding.h"
#include "support/adam.h"
#include "support/compare.h"

namespace moe::test {
namespace {

// A bf16 weight of n elements with fresh states, moved by decay alone: 1 - 2^-12, so that what is rounded is
// exact in f32 on every device.
AdamW decay_only(int64_t step) {
  AdamW options = options_at(step, AdamW::Order::pytorch);
  options.learning_rate = 0x1p-6F;
  options.weight_decay = 0x1p-6F;
  options.seed = 0x123456789abcdefULL;
  options.stream = stream_id("round/weight");
  return options;
}

class Bf16WeightTest : public OpsTest {
 public:
  Adam fresh(int64_t n) {
    Adam adam(*this, n);
    adam.weight = normal("weight", DType::bf16, {n});
    adam.compute = {};
    ops().fill(adam.gradient, 0);
    return adam;
  }
  void step(Adam& adam, bool eight, const AdamW& options) {
    eight ? adam.step8(*this, options) : adam.step32(*this, options);
  }
};

// What every device must store: the definition, element by element. So CPU and GPU agree to the bit.
TEST_F(Bf16WeightTest, RoundsWithTheRandomNumbersOfTheElement) {
  for (const int64_t n : {1, 130, 255, 256, 1000})
    for (const bool eight : {true, false}) {
      Adam adam = fresh(n);
      const auto before = values(adam.weight);
      AdamW options = decay_only(7);
      options.first = 512;
      step(adam, eight, options);
      const StochasticRounding rounding(options);
      const auto after = values(adam.weight);
      int up = 0;
      for (int64_t i = 0; i < n; ++i) {
        const int half = i % 256 < 128 ? 0 : 1;
        const auto bits = rounding.draw(i / 4 * 4 - 128 * half);
        bf16 expected;
        const float exact = static_cast<float>(before[static_cast<size_t>(i)]) * (1 - 0x1p-12F);
        expected.bits =
            StochasticRounding::round(exact, StochasticRounding::of(bits, half, static_cast<int>(i % 4)));
        ASSERT_EQ(after[static_cast<size_t>(i)], static_cast<double>(static_cast<float>(expected))) << i;
        up += after[static_cast<size_t>(i)] != before[static_cast<size_t>(i)];
      }
      if (n == 1000) {  // a sixteenth to a thirty-second of the steps are large enough to show
        EXPECT_GT(up, 15);
        EXPECT_LT(up, 120);
      }
    }
}

TEST_F(Bf16WeightTest, PiecesOfATensorHaveTheBitsOfTheWhole) {
  for (const bool eight : {true, false}) {
    Adam whole = fresh(1000), left = fresh(1000);
    step(whole, eight, decay_only(3));
    AdamW options = decay_only(3);
    Adam right = left;
    const auto cut = [](Tensor& tensor, int64_t begin, int64_t end) { tensor = tensor.rows(begin, end); };
    for (Tensor Adam::*tensor :
         {&Adam::weight, &Adam::gradient, &Adam::code_m, &Adam::code_v, &Adam::m, &Adam::v}) {
      cut(right.*tensor, 512, 1000);
      cut(left.*tensor, 0, 512);
    }
    for (Tensor Adam::*tensor : {&Adam::absmax_m, &Adam::absmax_v}) {
      cut(right.*tensor, 2, 4);
      cut(left.*tensor, 0, 2);
    }
    step(left, eight, options);
    options.first = 512;
    step(right, eight, options);
    auto joined = bytes(left.weight);
    const auto rest = bytes(right.weight);
    joined.insert(joined.end(), rest.begin(), rest.end());
    EXPECT_EQ(joined, bytes(whole.weight));
  }
}

TEST_F(Bf16WeightTest, StepsAndTensorsAndSeedsDrawTheirOwnNumbers) {
  const AdamW one = decay_only(1);
  AdamW step = one, stream = one, seed = one;
  step.step = 2, stream.stream += 1, seed.seed += 1;
  const auto first = StochasticRounding(one).draw(0);
  for (const AdamW& other : {step, stream, seed}) EXPECT_NE(StochasticRounding(other).draw(0), first);
  EXPECT_EQ(StochasticRounding(one).draw(0), first);
  EXPECT_NE(StochasticRounding(one).draw(4), first);
  EXPECT_NE(StochasticRounding(one).draw(256), first);
}

// n draws of a number a share f of the way between two neighbours: the mean's deviation is gap * sqrt(f (1 -
// f) / n).
TEST_F(Bf16WeightTest, RoundingIsUnbiasedAndKeepsWhatFits) {
  const StochasticRounding rounding(decay_only(1));
  constexpr int64_t kDraws = 100000;
  for (const float x : {1.0F + 0x1p-10F, 1.0F + 0x1p-8F, -3.01F, 1e-20F, 7.9999F}) {
    double sum = 0;
    for (int64_t i = 0; i < kDraws; ++i) {
      const int64_t at = i / 128 * 256 + i % 128;
      const auto bits = rounding.draw(at / 4 * 4);
      bf16 rounded;
      rounded.bits = StochasticRounding::round(
          x, StochasticRounding::of(bits, static_cast<int>(i % 2), static_cast<int>(at % 4)));
      sum += static_cast<double>(static_cast<float>(rounded));
    }
    const double gap = std::exp2(std::floor(std::log2(std::abs(static_cast<double>(x)))) - 7);
    const double below = std::floor(std::abs(static_cast<double>(x)) / gap) * gap;
    const double f = (std::abs(static_cast<double>(x)) - below) / gap;
    EXPECT_NEAR(sum / kDraws, static_cast<double>(x), 5 * gap * std::sqrt(f * (1 - f) / kDraws)) << x;
  }
  for (const float x : {0.0F, -0.0F, 1.5F, -1e30F, std::numeric_limits<float>::infinity()})
    for (const uint32_t random : {0U, 0xffffU})
      EXPECT_EQ(StochasticRounding::round(static_cast<float>(bf16(x)), random), bf16(x).bits) << x;
  bf16 nan;
  nan.bits = StochasticRounding::round(std::numeric_limits<float>::quiet_NaN(), 0xffff);
  EXPECT_TRUE(std::isnan(static_cast<float>(nan)));
}

// A constant gradient moves each weight by the learning rate, here a fortieth of the distance d between two
// bf16 numbers. Rounding to nearest would leave all where they are. A step has variance of at most d * lr, so
// the mean of n weights after t steps deviates by at most sqrt(t d lr / n).
TEST_F(Bf16WeightTest, SmallStepsAddUp) {
  constexpr int64_t n = 20000, steps = 20;
  constexpr double lr = 1e-4, d = 0x1p-8;
  for (const bool eight : {true, false}) {
    Adam adam = fresh(n);
    ops().fill(adam.weight, 1);
    ops().fill(adam.gradient, 0.5F);
    for (int64_t t = 1; t <= steps; ++t) {
      AdamW options = decay_only(t);
      options.learning_rate = static_cast<float>(lr);
      options.weight_decay = 0;
      step(adam, eight, options);
    }
    double sum = 0;
    for (const double weight : values(adam.weight)) sum += weight;
    EXPECT_NEAR(sum / n, 1 - steps * lr, 5 * std::sqrt(steps * d * lr / n)) << (eight ? "8 bits" : "f32");
  }
}

// Against f32 weights along one trajectory: each step's rounding adds a variance of a quarter of the distance
// squared at most, three times that of rounding to nearest: 8.4e-6 of the weights' squares
// (docs/numerics.md). The gradients are the same, so nothing feeds back.
TEST_F(Bf16WeightTest, FollowsTheF32Trajectory) {
  constexpr int64_t n = 20000, steps = 5;
  for (const bool eight : {true, false}) {
    Adam rounded = fresh(n), exact(*this, n);
    set(exact.weight, values(rounded.weight));
    for (int64_t t = 1; t <= steps; ++t) {
      rounded.gradient = exact.gradient = normal("gradient" + std::to_string(t), DType::f32, {n});
      AdamW options = options_at(t, AdamW::Order::pytorch);
      options.seed = 5;
      step(rounded, eight, options);
      step(exact, eight, options);
    }
    EXPECT_TRUE(close(values(rounded.weight), values(exact.weight), 8.4e-6 * steps));
    EXPECT_EQ(bytes(eight ? rounded.code_m : rounded.m), bytes(eight ? exact.code_m : exact.m));
  }
}

TEST_F(Bf16WeightTest, Bf16GradientsAreTheirValues) {
  for (const DType weight : {DType::f32, DType::bf16})
    for (const int64_t n : {7, 256, 1000})
      for (const bool eight : {true, false}) {
        Adam wide(*this, n), narrow(*this, n);
        for (Adam* adam : {&wide, &narrow}) {
          adam->weight = normal("weight", weight, {n});
          if (weight == DType::bf16) adam->compute = {};
        }
        narrow.gradient = normal("gradient", DType::bf16, {n});
        set(wide.gradient, values(narrow.gradient));
        for (Adam* adam : {&wide, &narrow}) step(*adam, eight, options_at(2, AdamW::Order::bitsandbytes));
        for (size_t i = 0; i < wide.all().size(); ++i) {
          if (i == 2 || wide.all()[i].empty()) continue;
          EXPECT_EQ(bytes(wide.all()[i]), bytes(narrow.all()[i])) << i << ", n " << n;
        }
      }
}

}  // namespace
}  // namespace moe::test
