// SPDX-License-Identifier: MIT
// What `moe plan` counts for each type.
#include "train/state.h"

#include <gtest/gtest.h>

#include <map>

#include "backend/backend.h"

namespace moe::train {
namespace {

std::map<std::string, int64_t> plan(MixedPrecision precision, int ranks = 1,
                                    ParallelLayout layout = ParallelLayout::automatic) {
  RunConfig config;
  config.model.n_layers = 2;
  config.training.batch_size = 2;
  config.training.mixed_precision = precision;
  const backend::Backend backend = backend::make_backend(DeviceKind::cpu, 1, arithmetic(config.training));
  Arena arena;
  config.distributed.layout = layout;
  plan_training(config, 50257, ranks, *backend.device, *backend.ops, arena);
  std::map<std::string, int64_t> table;
  for (const auto& [category, bytes] : arena.table()) table[category] = bytes;
  table["total"] = arena.used();
  return table;
}

TEST(TrainingPlan, SixteenBitsCountAsSuch) {
  const auto f32 = plan(MixedPrecision::no), bf16 = plan(MixedPrecision::bf16),
             f16 = plan(MixedPrecision::fp16);
  EXPECT_EQ(plan(MixedPrecision::tf32), f32);
  EXPECT_EQ(f16.at("total"), bf16.at("total"));
  EXPECT_EQ(f16.at("weights (f16 copy)"), bf16.at("weights (bf16 copy)"));
  EXPECT_EQ(f16.count("weights (bf16 copy)"), 0U);
  EXPECT_EQ(2 * f16.at("activations: residual stream"), f32.at("activations: residual stream"));
}

TEST(TrainingPlan, RanksShareStatesAndMasters) {
  const auto one = plan(MixedPrecision::bf16),
             all = plan(MixedPrecision::bf16, 4, ParallelLayout::data_parallel),
             parts = plan(MixedPrecision::bf16, 4, ParallelLayout::zero1);
  EXPECT_EQ(all, one);
  EXPECT_EQ(plan(MixedPrecision::bf16, 4), parts) << "auto";
  // All but norms and routers, which are read as they are, and a little for tensors that do not divide.
  const int64_t read = 4 * (2 * 64 * 1024 + (2 * (2 * 1024 + 2 * 64) + 1024) + 4096);
  EXPECT_LE(4 * (parts.at("weights (f32)") - read), one.at("weights (f32)"));
  EXPECT_LE(4 * parts.at("optimizer state"), one.at("optimizer state") + (1 << 20));
  for (const char* const same : {"weights (bf16 copy)", "gradients (f32)", "activations: experts"})
    EXPECT_NEAR(static_cast<double>(parts.at(same)), static_cast<double>(one.at(same)), 1 << 14) << same;
}

}  // namespace
}  // namespace moe::train
