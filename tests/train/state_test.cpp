// SPDX-License-Identifier: MIT
// What `moe plan` counts for each type.
#include "train/state.h"

#include <gtest/gtest.h>

#include <map>

#include "backend/backend.h"

namespace moe {
namespace {

std::map<std::string, int64_t> plan(const std::string& precision) {
  RunConfig config;
  config.model.n_layers = 2;
  config.training.batch_size = 2;
  config.training.mixed_precision = precision;
  const Backend backend = make_backend("cpu", 1, arithmetic(config.training));
  Arena arena;
  plan_training(config, 50257, *backend.ops, arena);
  std::map<std::string, int64_t> table;
  for (const auto& [category, bytes] : arena.table()) table[category] = bytes;
  table["total"] = arena.used();
  return table;
}

TEST(TrainingPlan, SixteenBitsCountAsSuch) {
  const auto f32 = plan("no"), bf16 = plan("bf16"), f16 = plan("fp16");
  EXPECT_EQ(plan("tf32"), f32);
  EXPECT_EQ(f16.at("total"), bf16.at("total"));
  EXPECT_EQ(f16.at("weights (f16 copy)"), bf16.at("weights (bf16 copy)"));
  EXPECT_EQ(f16.count("weights (bf16 copy)"), 0U);
  EXPECT_EQ(2 * f16.at("activations: residual stream"), f32.at("activations: residual stream"));
}

}  // namespace
}  // namespace moe
