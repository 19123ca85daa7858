// SPDX-License-Identifier: MIT
// cross_entropy: values against the definition in double precision, the gradient against finite differences.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "support/compare.h"
#include "support/fixture.h"
#include "support/gradcheck.h"

namespace moe::test {
namespace {

class LossTest : public OpsTest {
 public:
  Tensor none;

  // -log softmax[target] of each row, 0 without a target.
  std::vector<double> expected(const Tensor& logits, const std::vector<int32_t>& target, size_t vocabulary) {
    const auto x = values(logits);
    const auto width = static_cast<size_t>(logits.dim(1));
    std::vector<double> loss(target.size());
    for (size_t n = 0; n < target.size(); ++n) {
      if (target[n] < 0) continue;
      double total = 0;
      for (size_t i = 0; i < vocabulary; ++i)
        total += std::exp(x[n * width + i] - x[n * width + static_cast<size_t>(target[n])]);
      loss[n] = std::log(total);
    }
    return loss;
  }
};

TEST_F(LossTest, MatchesTheDefinition) {
  for (const DType dtype : kActivations)
    for (const auto& [vocabulary, width] :
         {std::pair<int64_t, int64_t>{1, 1003}, {7, 1003}, {1003, 1003}, {1000, 1008}, {6001, 6016}}) {
      const Tensor logits = normal("logits", dtype, {5, width}, 3), loss = zeros(DType::f32, {5});
      const std::vector<int32_t> target = {0, static_cast<int32_t>(vocabulary) - 1, -1,
                                           static_cast<int32_t>(vocabulary) / 2, 0};
      const auto before = bytes(logits);
      ops().cross_entropy({loss, logits, of(DType::i32, {5}, target), vocabulary, none});
      EXPECT_TRUE(close(values(loss), expected(logits, target, static_cast<size_t>(vocabulary)), kBoundF32));
      EXPECT_EQ(bytes(logits), before) << "logits change only when a gradient is asked for";
    }
}

TEST_F(LossTest, GradientAgreesWithFiniteDifferences) {
  const Tensor logits = normal("logits", DType::f32, {4, 11}), loss = zeros(DType::f32, {4});
  const Tensor target = of<int32_t>(DType::i32, {4}, {3, -1, 8, 0}),
               scale = of<float>(DType::f32, {1}, {0.37F});
  const Tensor weights = of<float>(DType::f32, {4}, {0.37F, 0.37F, 0.37F, 0.37F});
  const Tensor gradient = of(DType::f32, {4, 11}, values(logits));
  ops().cross_entropy({loss, gradient, target, 9, scale});
  const auto total = [&] {
    ops().cross_entropy({loss, logits, target, 9, none});
    return inner(*this, loss, weights);
  };
  EXPECT_TRUE(gradient_agrees(*this, gradient, logits, total));
  const auto g = values(gradient);
  for (size_t i = 0; i < g.size(); ++i)
    if (i / 11 == 1 || i % 11 >= 9) {
      EXPECT_EQ(g[i], 0) << i;
    }
}

TEST_F(LossTest, GradientOfRoundedTypesMatchesF32) {
  for (const DType dtype : kHalves)
    for (const int64_t width : {517, 5000, 29000}) {  // the last: longer rows of f32 than a GPU keeps
      const Tensor logits16 = normal("logits", dtype, {6, width}, 2);
      const Tensor logits32 = of(DType::f32, {6, width}, values(logits16));
      const Tensor target = of<int32_t>(DType::i32, {6}, {3, -1, 8, 0, 511, 99}),
                   scale = of<float>(DType::f32, {1}, {0.01F});
      const Tensor loss = zeros(DType::f32, {6});
      ops().cross_entropy({loss, logits16, target, width - 5, scale});
      const auto loss16 = values(loss);
      ops().cross_entropy({loss, logits32, target, width - 5, scale});
      EXPECT_TRUE(close(loss16, values(loss), kBoundF32));
      EXPECT_TRUE(close(values(logits16), values(logits32), bound_of(dtype)));
    }
}

// What was summed before a larger logit came is scaled to it. Rows that rise, fall, and have their largest in
// the middle, over several blocks of the CPU.
TEST_F(LossTest, TheLargestLogitMayStandAnywhere) {
  const size_t V = 6001, half = V / 2;
  const auto rising = [](size_t i) { return 0.02 * static_cast<double>(i) - 60; };
  std::vector<double> x(3 * V);
  for (size_t i = 0; i < V; ++i) {
    x[i] = rising(i);
    x[V + i] = rising(V - i);
    x[2 * V + i] = rising(i < half ? 2 * i : 2 * (V - i));
  }
  const std::vector<int32_t> target = {6000, 3000, 5};
  const double scale = 0.25;
  for (const DType dtype : kActivations) {
    const Tensor logits = of(dtype, {3, static_cast<int64_t>(V)}, x), loss = zeros(DType::f32, {3});
    const auto rounded = values(logits), losses = expected(logits, target, V);
    ops().cross_entropy({loss, logits, of(DType::i32, {3}, target), static_cast<int64_t>(V),
                         of<float>(DType::f32, {1}, {static_cast<float>(scale)})});
    EXPECT_TRUE(close(values(loss), losses, kBoundF32));
    std::vector<double> gradient(3 * V);
    for (size_t n = 0; n < 3; ++n) {
      const auto t = static_cast<size_t>(target[n]);
      for (size_t i = 0; i < V; ++i)
        gradient[n * V + i] =
            scale * (std::exp(rounded[n * V + i] - rounded[n * V + t] - losses[n]) - (i == t ? 1 : 0));
    }
    EXPECT_TRUE(close(values(logits), gradient, dtype == DType::f32 ? kBoundF32 : bound_of(dtype)));
  }
}

TEST_F(LossTest, ALogitThatIsNotANumberShowsInTheLoss) {
  for (const int64_t at : {0, 1, 2999}) {
    const Tensor logits = normal("logits", DType::f32, {1, 3000});
    std::vector<double> x = values(logits);
    x[static_cast<size_t>(at)] = std::nan("");
    const Tensor broken = of(DType::f32, {1, 3000}, x), loss = zeros(DType::f32, {1});
    ops().cross_entropy({loss, broken, of<int32_t>(DType::i32, {1}, {7}), 3000, none});
    EXPECT_TRUE(std::isnan(values(loss)[0])) << at;
  }
}

TEST_F(LossTest, ALogitOfMinusInfinityHasNoShare) {
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  std::vector<double> x(4100, kNone);  // all of the first blocks of the CPU's
  x[4097] = 1;
  x[4099] = 1;
  const Tensor logits = of(DType::f32, {1, 4100}, x), loss = zeros(DType::f32, {1});
  ops().cross_entropy(
      {loss, logits, of<int32_t>(DType::i32, {1}, {4097}), 4100, of<float>(DType::f32, {1}, {1})});
  EXPECT_NEAR(values(loss)[0], std::log(2.0), 1e-6);
  std::vector<double> gradient(4100);
  gradient[4097] = -0.5;
  gradient[4099] = 0.5;
  EXPECT_TRUE(close(values(logits), gradient, kBoundF32));
}

TEST_F(LossTest, HugeLogitsDoNotOverflow) {
  const Tensor logits = of<float>(DType::f32, {2, 3}, {1e4F, -1e4F, 0, -3e38F, 3e38F, 0}),
               loss = zeros(DType::f32, {2});
  ops().cross_entropy(
      {loss, logits, of<int32_t>(DType::i32, {2}, {0, 1}), 3, of<float>(DType::f32, {1}, {1})});
  EXPECT_EQ(values(loss), (std::vector<double>{0, 0}));
  EXPECT_EQ(values(logits), std::vector<double>(6));
}

TEST(LossThreadsTest, SameBitsWithAnyNumberOfThreads) {
  std::vector<uint8_t> expected;
  for (const int threads : {1, 2, 3}) {
    Machine machine(threads);
    const Tensor logits = machine.normal("logits", DType::bf16, {37, 100}),
                 loss = machine.zeros(DType::f32, {37});
    const Tensor target = machine.zeros(DType::i32, {37}), scale = machine.of<float>(DType::f32, {1}, {0.5F});
    machine.ops().cross_entropy({loss, logits, target, 90, scale});
    const auto bits = machine.bytes(logits);
    if (threads == 1) expected = bits;
    EXPECT_EQ(bits, expected) << threads << " threads";
  }
}

TEST_F(LossTest, RefusesWrongShapesAndTypes) {
  const Tensor logits = zeros(DType::f32, {3, 5}), loss = zeros(DType::f32, {3}),
               target = zeros(DType::i32, {3});
  EXPECT_NO_THROW(ops().cross_entropy({loss, logits, target, 5, none}));
  EXPECT_THROW(ops().cross_entropy({loss, logits, target, 6, none}), InternalError);
  EXPECT_THROW(ops().cross_entropy({loss, logits, target, 0, none}), InternalError);
  EXPECT_THROW(ops().cross_entropy({zeros(DType::f32, {4}), logits, target, 5, none}), InternalError);
  EXPECT_THROW(ops().cross_entropy({loss, logits, zeros(DType::f32, {3}), 5, none}), InternalError);
  EXPECT_THROW(ops().cross_entropy({loss, logits, target, 5, zeros(DType::f32, {2})}), InternalError);
  EXPECT_THROW(ops().cross_entropy({loss, zeros(DType::i32, {3, 5}), target, 5, none}), InternalError);
}

TEST_F(LossTest, ATargetOutsideTheVocabularyIsAnError) {
  const Tensor logits = zeros(DType::f32, {3, 5}), loss = zeros(DType::f32, {3});
  const Tensor target = of<int32_t>(DType::i32, {3}, {0, 4, 1});
  if (test_device() == "cpu") {
    EXPECT_THROW(ops().cross_entropy({loss, logits, target, 4, none}), InternalError);
    return;
  }
  ops().cross_entropy({loss, logits, target, 4, of<float>(DType::f32, {1}, {1})});  // a kernel cannot throw
  EXPECT_TRUE(std::isnan(values(loss)[1]));
  EXPECT_TRUE(std::isnan(values(logits)[5]));
  EXPECT_TRUE(std::isfinite(values(loss)[0]));
}

}  // namespace
}  // namespace moe::test
