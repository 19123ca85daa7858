// SPDX-License-Identifier: MIT
// Which parameters have which states, what they are called, and that the whole walk makes a loss smaller. The
// arithmetic of one tensor is tested with the ops (tests/ops/adamw8_test.cpp).
#include "optim/optimizer_set.h"
#include "optim/schedule.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <map>

#include "checkpoint/safetensors.h"
#include "ops/clocked_ops.h"
#include "support/fixture.h"

namespace moe::optim {
namespace {

using ::testing::ElementsAre;

class OptimizerTest : public ::testing::Test, public test::Machine {
 protected:
  Parameter parameter(const std::string& name, const std::string& group, Role role,
                      const std::vector<int64_t>& shape) {
    Parameter p{.name = name,
                .group = group,
                .role = role,
                .weight = zeros(DType::f32, shape),
                .compute = {},
                .gradient = zeros(DType::f32, shape)};
    p.compute = p.weight;
    return p;
  }
  std::vector<Parameter> model() {
    return {parameter("embedding.weight", "embedding", Role::embedding, {40, 128}),
            parameter("norm.weight", "norms", Role::norm, {128}),
            parameter("qkvg.weight", "attention", Role::matrix, {64, 64}),
            parameter("router.weight", "router", Role::router, {33, 128}),
            parameter("small.weight", "attention", Role::matrix, {63, 65}),
            parameter("up.weight", "experts", Role::expert, {3, 50, 31})};
  }
  Tensor scale(float value) { return of<float>(DType::f32, {1}, {value}); }
  Arena arena_{device(), 1 << 20};
};

std::vector<std::string> describe(const std::vector<NamedShard>& state) {
  std::vector<std::string> lines;
  for (const NamedShard& part : state) lines.push_back(part.name + " " + part.global.describe());
  return lines;
}

TEST_F(OptimizerTest, EightBitStatesAreForLargeMatricesOutsideEmbeddingAndRouter) {
  const OptimizerSet optimizer({}, model(), arena_, ops());
  EXPECT_THAT(
      describe(optimizer.state()),
      ElementsAre("embedding.weight.m f32[40, 128]", "embedding.weight.v f32[40, 128]",  //
                  "norm.weight.m f32[128]", "norm.weight.v f32[128]",                    //
                  "qkvg.weight.m.codes u8[64, 64]", "qkvg.weight.m.absmax f32[16]",      // 4096: large enough
                  "qkvg.weight.v.codes u8[64, 64]", "qkvg.weight.v.absmax f32[16]",      //
                  "router.weight.m f32[33, 128]", "router.weight.v f32[33, 128]",        //
                  "small.weight.m f32[63, 65]", "small.weight.v f32[63, 65]",            // 4095: not
                  "up.weight.m.codes u8[3, 50, 31]", "up.weight.m.absmax f32[19]",       // 4650 / 256, up
                  "up.weight.v.codes u8[3, 50, 31]", "up.weight.v.absmax f32[19]"));
  EXPECT_THAT(optimizer.groups(), ElementsAre("embedding", "norms", "attention", "router", "experts"));
}

TEST_F(OptimizerTest, EmbeddingAndRouterByOption) {
  const OptimizerSet optimizer({.embedding_8bit = true, .router_8bit = true}, model(), arena_, ops());
  const auto lines = describe(optimizer.state());
  EXPECT_THAT(lines, ::testing::Contains("embedding.weight.m.codes u8[40, 128]"));
  EXPECT_THAT(lines, ::testing::Contains("router.weight.v.absmax f32[17]"));
  EXPECT_THAT(lines, ::testing::Contains("norm.weight.m f32[128]"));
}

TEST_F(OptimizerTest, ThirtyTwoBitModeHasNoCodes) {
  const OptimizerSet optimizer({.eight_bit = false}, model(), arena_, ops());
  EXPECT_EQ(optimizer.state().size(), 12u);
  for (const NamedShard& part : optimizer.state()) EXPECT_EQ(part.local.dtype(), DType::f32) << part.name;
}

TEST_F(OptimizerTest, PlansWhatItTakes) {
  Arena planning, real(device(), 1 << 20);
  const auto parameters = model();
  const OptimizerSet planned({}, parameters, planning, ops()), made({}, parameters, real, ops());
  EXPECT_EQ(planning.used(), real.used());
  EXPECT_EQ(planning.table().at(0).first, "optimizer state");
}

TEST_F(OptimizerTest, GradientSquaresPerGroup) {
  auto parameters = model();
  OptimizerSet optimizer({}, parameters, arena_, ops());
  for (Parameter& p : parameters) std::fill_n(p.gradient.as<float>(), p.gradient.numel(), 0.5F);
  Tensor squares_g = of<double>(DType::f64, {5}, {9, 9, 9, 9, 9});  // what was there does not count
  optimizer.gradient_squares(squares_g);
  EXPECT_THAT(values(squares_g), ElementsAre(1280, 32, (4096 + 4095) / 4.0, 1056, 4650 / 4.0));
}

TEST_F(OptimizerTest, DecaysOnlyWhatDecays) {
  auto parameters = model();
  for (Parameter& p : parameters) std::fill_n(p.weight.as<float>(), p.weight.numel(), 1.0F);
  OptimizerSet optimizer({.weight_decay = 0.5}, parameters, arena_, ops());
  optimizer.step({0, 0.5}, scale(1));  // gradients are zero: only decay acts, 1 - 0.5 * 0.5
  for (Parameter& p : parameters) {
    for (const double weight : values(p.weight))
      ASSERT_EQ(weight, p.role == Role::norm ? 1.0 : 0.75) << p.name;
  }
}

// Gradients push half of the weights to zero and half away from it; in both orders, in 8 bits and 32.
TEST_F(OptimizerTest, CautiousDecayOnlyWhereTheStepShrinksTheWeight) {
  for (const AdamW::Order order : {AdamW::Order::pytorch, AdamW::Order::bitsandbytes})
    for (const bool cautious : {false, true}) {
      Arena arena(device(), 1 << 20);
      auto parameters = model();
      for (Parameter& p : parameters)
        for (int64_t i = 0; i < p.weight.numel(); ++i) {
          p.weight.as<float>()[i] = i % 4 < 2 ? 1.0F : -1.0F;
          p.gradient.as<float>()[i] = i % 2 == 0 ? 4.0F : -4.0F;
        }
      OptimizerSet optimizer({.order = order, .weight_decay = 0.5, .cautious_decay = cautious}, parameters,
                             arena, ops());
      optimizer.step({0, 0.125}, scale(1));
      for (const Parameter& p : parameters) {
        const auto weights = values(p.weight);
        for (size_t i = 0; i < weights.size(); ++i) {
          const double start = i % 4 < 2 ? 1 : -1, moved = i % 2 == 0 ? -0.125 : 0.125;
          const bool shrinks = start * moved < 0, decays = p.role != Role::norm && (shrinks || !cautious);
          const double factor = decays ? 1 - 0.0625 : 1;
          const double expected =
              order == AdamW::Order::pytorch ? start * factor + moved : (start + moved) * factor;
          ASSERT_NEAR(weights[i], expected, 1e-6) << p.name << " [" << i << "]";
        }
      }
    }
}

TEST_F(OptimizerTest, DecayFollowsItsSchedule) {
  const Schedule schedule{.max_steps = 4};
  auto parameters = model();
  OptimizerSet optimizer({.weight_decay = 0.5}, parameters, arena_, ops());
  for (Parameter& p : parameters) std::fill_n(p.weight.as<float>(), p.weight.numel(), 1.0F);
  const auto step = [&](int64_t count) {
    optimizer.step({count, 0.5, weight_decay_scale(DecaySchedule::cosine_to_zero, schedule, count)},
                   scale(1));
  };
  step(2);  // half of it is left: 1 - 0.5 * 0.25
  EXPECT_EQ(values(parameters[0].weight)[0], 0.875);
  step(4);
  EXPECT_EQ(values(parameters[0].weight)[0], 0.875);
}

TEST_F(OptimizerTest, RatesAndDecayAreByRole) {
  auto parameters = model();
  const OptimizerConfig config{.weight_decay = 0.5,
                               .embedding_rate_scale = 0.5,
                               .router_rate_scale = 0.25,
                               .norm_rate_scale = 2,
                               .embedding_decays = false};
  OptimizerSet optimizer(config, parameters, arena_, ops());
  for (Parameter& p : parameters) {
    std::fill_n(p.weight.as<float>(), p.weight.numel(), 1.0F);
    std::fill_n(p.gradient.as<float>(), p.gradient.numel(), 4.0F);
  }
  optimizer.step({0, 0.125}, scale(1));  // the first step of Adam is one rate: 1 (1 - rate decay) - rate
  const std::map<std::string, double> expected{
      {"embedding.weight", 1 - 0.0625},     {"norm.weight", 1 - 0.25},
      {"qkvg.weight", 1 - 0.0625 - 0.125},  {"router.weight", 1 - 0.03125 / 2 - 0.03125},
      {"small.weight", 1 - 0.0625 - 0.125}, {"up.weight", 1 - 0.0625 - 0.125}};
  for (const Parameter& p : parameters)
    for (const double weight : values(p.weight)) ASSERT_NEAR(weight, expected.at(p.name), 1e-6) << p.name;

  const auto summary = optimizer.summary();
  ASSERT_EQ(summary.size(), 5u);
  EXPECT_EQ(summary[2].name, "attention");
  EXPECT_EQ(summary[2].tensors, 2);
  EXPECT_EQ(summary[2].parameters, 4096 + 4095);
  EXPECT_EQ(summary[2].eight_bit, 4096);
  EXPECT_EQ(summary[0].rate_scale, 0.5);
  EXPECT_EQ(summary[0].weight_decay, 0);
}

TEST_F(OptimizerTest, FirstStepMovesByTheLearningRate) {
  // Bias correction with step counted from 0: after one step m / sqrt(v) is the gradient's sign, whatever its
  // size.
  auto parameters = model();
  for (Parameter& p : parameters) std::fill_n(p.gradient.as<float>(), p.gradient.numel(), -3.0F);
  OptimizerSet optimizer({.weight_decay = 0}, parameters, arena_, ops());
  optimizer.step({0, 0.25}, scale(1));
  for (Parameter& p : parameters) {
    for (const double weight : values(p.weight)) ASSERT_NEAR(weight, 0.25, 1e-6) << p.name;
  }
}

TEST_F(OptimizerTest, NegativeScaleChangesNothing) {
  auto parameters = model();
  OptimizerSet optimizer({}, parameters, arena_, ops());
  for (Parameter& p : parameters) std::fill_n(p.gradient.as<float>(), p.gradient.numel(), 1.0F);
  optimizer.step({0, 1}, scale(-1));
  for (Parameter& p : parameters) {
    EXPECT_THAT(values(p.weight), ::testing::Each(0)) << p.name;
  }
  for (const NamedShard& part : optimizer.state())
    EXPECT_THAT(values(part.local), ::testing::Each(0)) << part.name;
}

TEST_F(OptimizerTest, WritesTheRoundedCopy) {
  auto parameters = model();
  for (Parameter& p : parameters) {
    const std::vector<int64_t> shape(p.weight.shape(), p.weight.shape() + p.weight.rank());
    p.compute = zeros(DType::bf16, shape);
    std::fill_n(p.gradient.as<float>(), p.gradient.numel(), -1.0F);
  }
  OptimizerSet optimizer({.weight_decay = 0}, parameters, arena_, ops());
  optimizer.step({0, 0.3}, scale(1));
  for (Parameter& p : parameters) {
    EXPECT_THAT(values(p.compute), ::testing::Each(static_cast<double>(static_cast<float>(bf16(0.3F)))))
        << p.name;
  }
}

// Tensors that lie behind one another are one operation, with the bits of many.
TEST_F(OptimizerTest, NeighboursAreTakenTogether) {
  const std::vector<std::vector<int64_t>> shapes{{64, 65}, {50, 100}, {4096}, {70}, {5, 3}};
  int64_t total = 0;
  std::vector<int64_t> begin;
  for (const auto& shape : shapes) {
    const int64_t n = shape.size() == 1 ? shape[0] : shape[0] * shape[1];
    begin.push_back(total);
    total += (n + 255) / 256 * 256;
  }
  const Tensor weight = zeros(DType::f32, {total}), gradient = zeros(DType::f32, {total}),
               compute = zeros(DType::bf16, {total});
  std::vector<Parameter> together, apart;
  for (size_t i = 0; i < shapes.size(); ++i) {
    Parameter p = parameter(std::string(i + 1, 'w'), "experts", Role::expert, shapes[i]);
    p.compute = zeros(DType::bf16, shapes[i]);
    std::fill_n(p.weight.as<float>(), p.weight.numel(), 0.3F);
    for (int64_t k = 0; k < p.gradient.numel(); ++k)
      p.gradient.as<float>()[k] = std::sin(static_cast<float>(k + begin[i]));
    apart.push_back(p);
    const auto place = [&](Tensor& tensor, const Tensor& all) {
      Tensor slice = all.rows(begin[i], begin[i] + tensor.numel());
      std::memcpy(slice.data(), tensor.data(), static_cast<size_t>(tensor.bytes()));
      tensor = Tensor(slice.data(), tensor.dtype(), tensor.shape(), tensor.rank());
    };
    place(p.weight, weight);
    place(p.gradient, gradient);
    place(p.compute, compute);
    together.push_back(p);
  }
  ClockedOps timed(ops(), device());
  Arena other(device(), 1 << 20);
  OptimizerSet one({}, together, arena_, timed), many({}, apart, other, ops());
  timed.start();
  Tensor squares = zeros(DType::f64, {1}), expected = zeros(DType::f64, {1});
  one.gradient_squares(squares);
  many.gradient_squares(expected);
  EXPECT_NEAR(squares.as<double>()[0], expected.as<double>()[0], 1e-12 * expected.as<double>()[0]);
  for (int64_t step = 0; step < 3; ++step) {
    one.step({step, 0.01}, scale(1));
    many.step({step, 0.01}, scale(1));
  }
  EXPECT_EQ(timed.entries().at("sum_squares").calls, 1);
  EXPECT_EQ(timed.entries().at("adamw8").calls, 3);   // the first three tensors
  EXPECT_EQ(timed.entries().at("adamw32").calls, 3);  // the small ones
  for (size_t i = 0; i < together.size(); ++i) {
    EXPECT_EQ(bytes(together[i].weight), bytes(apart[i].weight)) << i;
    EXPECT_EQ(bytes(together[i].compute), bytes(apart[i].compute)) << i;
  }
  const auto a = one.state(), b = many.state();
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(bytes(a[i].local), bytes(b[i].local)) << a[i].name;
}

// Sum over elements of curvature * (w - target)^2 / 2, curvatures over two decades: the shape of a loss that
// plain gradient descent at one rate finds slow.
class QuadraticTest : public OptimizerTest, public ::testing::WithParamInterface<OptimizerConfig> {
 protected:
  static double curvature(int64_t i) { return std::pow(10.0, static_cast<double>(i % 5) / 2 - 1); }
  static double target(int64_t i) { return std::sin(static_cast<double>(i)); }
  static double loss(const Tensor& weight) {
    double sum = 0;
    for (int64_t i = 0; i < weight.numel(); ++i) {
      sum += 0.5 * curvature(i) * std::pow(static_cast<double>(weight.as<float>()[i]) - target(i), 2);
    }
    return sum;
  }
};

TEST_P(QuadraticTest, IsMinimised) {
  std::vector<Parameter> parameters{parameter("w", "experts", Role::expert, {70, 70})};
  OptimizerSet optimizer(GetParam(), parameters, arena_, ops());
  Tensor weight = parameters[0].weight, gradient = parameters[0].gradient;
  const double before = loss(weight);
  for (int64_t step = 0; step < 300; ++step) {
    for (int64_t i = 0; i < weight.numel(); ++i) {
      gradient.as<float>()[i] =
          static_cast<float>(curvature(i) * (static_cast<double>(weight.as<float>()[i]) - target(i)));
    }
    optimizer.step({step, 0.05 * (1 - static_cast<double>(step) / 300)}, scale(1));
  }
  EXPECT_LT(loss(weight), 1e-4 * before);
}

INSTANTIATE_TEST_SUITE_P(Modes, QuadraticTest,
                         ::testing::Values(OptimizerConfig{.eight_bit = false, .weight_decay = 0},
                                           OptimizerConfig{.eight_bit = true, .weight_decay = 0},
                                           OptimizerConfig{.eight_bit = true,
                                                           .order = AdamW::Order::bitsandbytes,
                                                           .weight_decay = 0}),
                         [](const auto& config) {
                           return std::string(config.param.eight_bit ? "eight_bit" : "f32") +
                                  (config.param.order == AdamW::Order::pytorch ? "_pytorch"
                                                                               : "_bitsandbytes");
                         });

// Saving and loading the states goes on with the same bits.
TEST_F(OptimizerTest, StatesSurviveAFile) {
  const auto run = [&](int64_t from, int64_t to, std::vector<Parameter>& parameters,
                       OptimizerSet& optimizer) {
    for (int64_t step = from; step < to; ++step) {
      for (Parameter& p : parameters) {
        for (int64_t i = 0; i < p.gradient.numel(); ++i) {
          p.gradient.as<float>()[i] = std::sin(static_cast<float>(i * (step + 1)));
        }
      }
      optimizer.step({step, 0.01}, scale(1));
    }
  };
  auto straight = model(), resumed = model();
  OptimizerSet optimizer({}, straight, arena_, ops());
  run(0, 3, straight, optimizer);
  const std::string path = ::testing::TempDir() + "/optimizer.safetensors";
  std::vector<NamedTensor> saved;
  for (NamedShard part : optimizer.state())
    saved.push_back(
        {part.name, Tensor(part.local.data(), part.global.dtype(), part.global.shape(), part.global.rank())});
  checkpoint::write_safetensors(path, saved, device());

  Arena other(device(), 1 << 20);
  OptimizerSet again({}, resumed, other, ops());
  const checkpoint::Safetensors file{std::filesystem::path(path)};
  for (const NamedShard& part : again.state()) file.load(part, device());
  for (size_t i = 0; i < straight.size(); ++i)
    device().to_device(resumed[i].weight, straight[i].weight.data());
  run(3, 6, straight, optimizer);
  run(3, 6, resumed, again);
  for (size_t i = 0; i < straight.size(); ++i) EXPECT_EQ(bytes(straight[i].weight), bytes(resumed[i].weight));
}

}  // namespace
}  // namespace moe::optim
