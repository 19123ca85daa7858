// SPDX-License-Identifier: MIT
// The laws for the full model, against figures computed apart from this program (Python, f64).
#include "train/recipe.h"

#include <gmock/gmock.h>

#include <string>

namespace moe::train {
namespace {

const Advice& named(const Recipe& recipe, const std::string& name) {
  for (const Advice& one : recipe.advice)
    if (one.name == name) return one;
  ADD_FAILURE() << "no advice called " << name;
  return recipe.advice.front();
}

// configs/train_config.yaml's shape on 10.5 B tokens, 524,288 in a step.
TEST(Recipe, OfTheFullModel) {
  RunConfig config;
  config.training.gradient_accumulation_steps = 16;
  config.training.max_steps = 20000;
  config.training.warmup_steps = 700;
  const Recipe full = recipe(config, 1, 10.5e9);
  EXPECT_EQ(full.active, 118'524'928);
  EXPECT_EQ(full.total, 1'678'806'016);
  const auto law = [&](const char* name) { return named(full, name).law; };
  EXPECT_NEAR(law("peak rate, N active"), 3.7387965e-3, 1e-9);
  EXPECT_NEAR(law("peak rate, N total"), 5.648495e-4, 1e-9);
  EXPECT_NEAR(law("peak rate, N active, E experts"), 4.491587e-4, 1e-9);
  EXPECT_NEAR(law("batch"), 305'863.098, 0.01);
  EXPECT_EQ(law("steps"), 34'330);
  EXPECT_NEAR(law("the first, at the batch here"), 3.7387965e-3 * 1.3092465,
              1e-8);  // sqrt(524288 / 305863.1)
  EXPECT_NEAR(law("timescale of the decay"), 0.10203760, 1e-7);
  EXPECT_NEAR(*named(full, "timescale of the decay").here, 0.83220317, 1e-7);
  EXPECT_NEAR(law("weight decay at the rate and batch here"), 0.81558482, 1e-7);
  EXPECT_EQ(law("warm-up"), 687);  // 2 % of the steps, more than 2 / (1 - 0.95)
  EXPECT_EQ(*named(full, "batch").here, 524'288);
  EXPECT_EQ(*named(full, "steps").here, 20'000);
}

// 22.4 TFLOP of Newton-Schulz, by hand from the shapes: 3,072 matrices of 512 x 1024 in experts, and in
// each of 16 layers three of 1024 x 1024 and two of 512 x 1024.
TEST(Recipe, NewtonSchulzIsAShareOfTheArithmetic) {
  RunConfig config;
  config.training.gradient_accumulation_steps = 16;
  config.training.max_steps = 20000;
  const std::string name = "Newton-Schulz, of a step's arithmetic";
  EXPECT_EQ(*named(recipe(config, 1, 10.5e9), name).here, 0);  // AdamW has none
  config.training.optimizer = OptimizerKind::muon8bit;
  const Recipe full = recipe(config, 1, 10.5e9);
  EXPECT_NEAR(*named(full, name).here, 3.6, 0.3);
  EXPECT_GT(named(full, name).law, *named(full, name).here);  // a smaller batch
  config.training.gradient_accumulation_steps = 2;
  EXPECT_NEAR(*named(recipe(config, 1, 10.5e9), name).here, 23, 2);  // of an eighth of the work
}

TEST(Recipe, WithoutARateThereIsNoTimescale) {
  RunConfig config;
  config.training.learning_rate = 0;
  const Recipe none = recipe(config, 1, 1e9);
  EXPECT_FALSE(named(none, "timescale of the decay").here);
  for (const Advice& one : none.advice) EXPECT_NE(one.name, "weight decay at the rate and batch here");
}

}  // namespace
}  // namespace moe::train
