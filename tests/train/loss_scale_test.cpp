// SPDX-License-Identifier: MIT
// The rule of the loss scale, and what a step does with it: gradients, norms and updates do not depend on it,
// and a step that overflows changes nothing but the scale.
#include "train/loss_scale.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backend/backend.h"
#include "base/random.h"
#include "comm/solo.h"
#include "support/configs.h"
#include "train/report.h"
#include "train/step.h"

namespace moe::train {
namespace {

TEST(LossScale, HalvesOnOverflowAndDoublesAfterGoodSteps) {
  LossScale scale(8, 3);
  EXPECT_TRUE(scale.update(true));
  EXPECT_TRUE(scale.update(true));
  EXPECT_EQ(scale.value(), 8);
  EXPECT_TRUE(scale.update(true));
  EXPECT_EQ(scale.value(), 16);
  EXPECT_TRUE(scale.update(true));
  EXPECT_TRUE(scale.update(true));
  EXPECT_TRUE(scale.update(false));
  EXPECT_EQ(scale.value(), 8);
  EXPECT_TRUE(scale.update(true));  // the count began anew
  EXPECT_TRUE(scale.update(true));
  EXPECT_EQ(scale.value(), 8);
  EXPECT_TRUE(scale.update(true));
  EXPECT_EQ(scale.value(), 16);
  EXPECT_EQ(scale.skipped(), 1);
}

TEST(LossScale, NotFiniteAtOneIsNotItsFault) {
  LossScale scale(2, 1);
  EXPECT_TRUE(scale.update(false));
  EXPECT_EQ(scale.value(), 1);
  EXPECT_FALSE(scale.update(false));
  EXPECT_EQ(scale.value(), 1);
  EXPECT_EQ(scale.skipped(), 1);
}

TEST(LossScale, StaysWithinItsLimits) {
  LossScale most(LossScale::kMost, 1), fixed(4, 0), off;
  for (int i = 0; i < 5; ++i)
    for (LossScale* scale : {&most, &fixed, &off}) EXPECT_TRUE(scale->update(true));
  EXPECT_EQ(most.value(), LossScale::kMost);
  EXPECT_EQ(fixed.value(), 4);
  EXPECT_EQ(off.value(), 1);
  EXPECT_FALSE(off.dynamic());
  EXPECT_FALSE(off.update(false));
  EXPECT_EQ(off.skipped(), 0);
}

// A small model that trains in this arithmetic on random tokens.
class Training {
 public:
  explicit Training(MixedPrecision precision, double loss_scale = 65536) {
    config.model = test::tiny_config({.n_heads = 2,
                                      .n_kv_heads = 1,
                                      .expert_intermediate_dim = 32,
                                      .capacity_factor = 1,
                                      .max_seq_len = 16});
    config.training.weight_decay = 0;
    config.training.batch_size = 2;
    config.training.mixed_precision = precision;
    config.training.loss_scale = loss_scale;
    config.training.optimizer = OptimizerKind::adamw;
    backend = backend::make_backend(DeviceKind::cpu, 2, arithmetic(config.training));
    groups.emplace(config.distributed, config.model, alone, *backend.device);
    auto placed = place<TrainingState>(*backend.device, config, vocabulary, *groups, *backend.ops);
    arena = std::move(placed.first), state = std::move(placed.second);
    state->transformer.prepare(*backend.device);
    state->weights.initialise(1, *backend.ops);
    model::cast_weights(state->weights, *backend.ops);
    const Random random(1, "tokens");
    batch.rows = 2, batch.length = 16, batch.targets = 32;
    for (uint64_t n = 0; n < 32; ++n) {
      batch.input.push_back(static_cast<int32_t>(random.below(2 * n, 90)));
      batch.target.push_back(static_cast<int32_t>(random.below(2 * n + 1, 90)));
    }
    batch.first.assign(32, 0);
  }

  StepResult step() {
    const double scale = state->loss_scale.value();
    run_step(*state, config.training, {&batch, 1}, {steps++, 5e-3}, *backend.device, *backend.ops);
    return read_step(state->transformer.sums(), state->transformer.fp8_census(), state->squares_g,
                     state->clip_scale_1, scale, 32, 1, *backend.device);
  }
  std::vector<float> weights() const {
    std::vector<float> all;
    for (const Parameter& parameter : state->weights.list()) {
      const auto* values = parameter.weight.as<float>();
      all.insert(all.end(), values, values + parameter.weight.numel());
    }
    return all;
  }

  int64_t vocabulary = 90, steps = 0;
  comm::SoloCommunicator alone;
  std::optional<RankGroups> groups;
  RunConfig config;
  backend::Backend backend;
  data::Batch batch;
  std::unique_ptr<Arena> arena;
  std::unique_ptr<TrainingState> state;
};

TEST(LossScaleStep, NormsAndUpdatesAreWithoutIt) {
  Training one(MixedPrecision::fp16, 64), other(MixedPrecision::fp16, 256);
  for (int i = 0; i < 2; ++i) {
    const StepResult a = one.step(), b = other.step();
    ASSERT_TRUE(a.finite() && b.finite());
    EXPECT_NEAR(a.loss, b.loss, i == 0 ? 0 : 1e-3);
    // Smaller scales lose the smallest gradients: 2^-24 / 64 of them.
    EXPECT_NEAR(a.gradient_norm, b.gradient_norm, 1e-3 * b.gradient_norm);
    EXPECT_NEAR(a.clip_scale, b.clip_scale, 1e-3);
  }
}

TEST(LossScaleStep, NormsAreThoseOfF32) {
  Training exact(MixedPrecision::no), scaled(MixedPrecision::fp16);
  const StepResult a = exact.step(), b = scaled.step();
  EXPECT_NEAR(a.loss, b.loss, 5e-3);
  EXPECT_NEAR(a.gradient_norm, b.gradient_norm, 0.01 * a.gradient_norm);
  EXPECT_NEAR(a.clip_scale, b.clip_scale, 0.01 * a.clip_scale);
}

TEST(LossScaleStep, OverflowSkipsTheStepAndHalvesUntilItFits) {
  Training training(MixedPrecision::fp16, LossScale::kMost);
  const auto before = training.weights();
  int skipped = 0;
  for (; skipped < 32; ++skipped) {
    const double scale = training.state->loss_scale.value();
    const StepResult result = training.step();
    EXPECT_TRUE(std::isfinite(result.loss));  // forward knows nothing of the scale
    EXPECT_TRUE(training.state->loss_scale.update(result.finite()));
    if (result.finite()) break;
    EXPECT_EQ(result.clip_scale, -1);
    EXPECT_EQ(training.weights(), before);
    EXPECT_EQ(training.state->loss_scale.value(), scale / 2);
    EXPECT_EQ(training.state->loss_scale.skipped(), skipped + 1);
  }
  EXPECT_GT(skipped, 0);
  ASSERT_LT(skipped, 32);
  EXPECT_NE(training.weights(), before);

  // The step that fits is the first for the moments too: as if none had been skipped.
  Training direct(MixedPrecision::fp16, training.state->loss_scale.value());
  direct.step();
  EXPECT_EQ(direct.weights(), training.weights());
}

TEST(LossScaleStep, OneBatchIsLearntByHeart) {
  Training training(MixedPrecision::fp16);
  double loss = 0;
  for (int i = 0; i < 150; ++i) {
    const StepResult result = training.step();
    ASSERT_TRUE(training.state->loss_scale.update(result.finite()));
    if (result.finite()) loss = result.loss;
  }
  EXPECT_LT(loss, 0.05);
}

}  // namespace
}  // namespace moe::train
