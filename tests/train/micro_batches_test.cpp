// SPDX-License-Identifier: MIT
// training.batch_size auto and training.global_batch_size.
#include "train/micro_batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/backend.h"
#include "base/json.h"
#include "support/configs.h"
#include "support/errors.h"
#include "train/state.h"

namespace moe::train {
namespace {

using testing::HasSubstr;

RunConfig config_of(int64_t batch_size, int64_t rows) {
  RunConfig config;
  config.model = test::tiny_config();
  config.model.vocab_size = 50304;
  config.model.max_seq_len = 1024;
  config.training.batch_size = batch_size;
  config.training.gradient_accumulation_steps = 7;  // follows
  config.training.global_batch_size = rows;
  config.validate();
  return config;
}

class MicroBatches : public testing::Test {
 protected:
  void choose(RunConfig& config, int ranks, double free, bool on_gpu) {
    set_micro_batches(config, ranks, {free, on_gpu}, *backend_.device, *backend_.ops);
    EXPECT_EQ(config.training.batch_size * config.training.gradient_accumulation_steps * ranks,
              config.training.global_batch_size);
  }
  double memory_of(int64_t batch_size, int ranks = 1) {
    const RunConfig config = config_of(batch_size, 0);
    Arena plan;
    plan_training(config, config.vocabulary(), ranks, *backend_.device, *backend_.ops, plan);
    return static_cast<double>(plan.used());
  }
  int64_t chosen(int64_t rows, int ranks, double free, bool on_gpu = true) {
    RunConfig config = config_of(0, rows);
    choose(config, ranks, free, on_gpu);
    return config.training.batch_size;
  }
  backend::Backend backend_ = backend::make_backend(DeviceKind::cpu, 1);
};

TEST_F(MicroBatches, NothingIsChangedWithoutGlobalBatchSize) {
  RunConfig config = config_of(4, 0);
  set_micro_batches(config, 2, {1e12, true}, *backend_.device, *backend_.ops);
  EXPECT_EQ(config.training.batch_size, 4);
  EXPECT_EQ(config.training.gradient_accumulation_steps, 7);
  EXPECT_EQ(config.tokens_of_step(2), 4 * 7 * 2 * 1024);
}

TEST_F(MicroBatches, AccumulationFollows) {
  RunConfig config = config_of(4, 48);
  EXPECT_EQ(config.tokens_of_step(3), 48 * 1024);  // whatever the micro-batches
  choose(config, 3, 0, true);
  EXPECT_EQ(config.training.batch_size, 4);
  EXPECT_EQ(config.training.gradient_accumulation_steps, 4);
  choose(config, 1, 0, true);  // the run goes on with fewer ranks
  EXPECT_EQ(config.training.gradient_accumulation_steps, 12);
}

TEST_F(MicroBatches, AutoIsTheLargestThatHelps) {
  constexpr double kMuch = 1e15;
  EXPECT_EQ(chosen(512, 1, kMuch), 256);
  EXPECT_EQ(chosen(512, 8, kMuch), 64);
  EXPECT_EQ(chosen(100, 1, kMuch), 100);
  EXPECT_EQ(chosen(3 * 257, 1, kMuch), 3);  // 257 rows are more than 262,144 tokens
  EXPECT_EQ(chosen(512, 1, kMuch, false), 4);
}

TEST_F(MicroBatches, AutoFits) {
  for (const int64_t fits : {2, 4, 8}) {
    const double free = memory_of(fits) / 0.9 + 4096;
    EXPECT_EQ(chosen(64, 1, free), fits);
    EXPECT_LT(chosen(64, 1, memory_of(fits) / 0.9 - 4096), fits);
  }
  EXPECT_EQ(chosen(64, 1, 0), 1);  // whoever places it says how much is missing
}

TEST_F(MicroBatches, AutoKeepsWhatOtherSettingsNeed) {
  RunConfig config = config_of(0, 64);
  config.distributed.layout = ParallelLayout::expert;
  config.distributed.overlap = true;  // two micro-batches in a step at least
  choose(config, 1, 1e15, true);
  EXPECT_EQ(config.training.batch_size, 32);
}

TEST_F(MicroBatches, RowsThatCannotBeDealt) {
  const auto complaint = [&](int64_t batch_size, int64_t rows, int ranks) {
    RunConfig config = config_of(batch_size, rows);
    return test::user_error_of([&] { choose(config, ranks, 1e15, true); });
  };
  EXPECT_THAT(complaint(0, 64, 3), HasSubstr("a multiple of the 3 ranks, found 64"));
  EXPECT_THAT(complaint(3, 64, 2), HasSubstr("a multiple of training.batch_size (3) on each of 2 ranks"));
  RunConfig config = config_of(4, 64);
  config.training.batch_size = 0;
  config.training.global_batch_size = 0;
  EXPECT_THAT(test::user_error_of([&] { config.validate(); }),
              HasSubstr("training.global_batch_size=224 is 7 micro-batches of 32 rows"));
  config.training.global_batch_size = 64;
  config.training.batch_ramp = {"1:1000"};
  config.training.max_tokens = 1 << 20;
  EXPECT_THAT(test::user_error_of([&] { config.validate(); }), HasSubstr("training.batch_ramp"));
}

TEST_F(MicroBatches, ARunsSettingsSayAutoUntilItIsChosen) {
  RunConfig config = config_of(0, 64);
  const auto recorded = [&] { return parse_json("run", config.json()).at("training").at("batch_size"); };
  EXPECT_EQ(recorded(), "auto");
  choose(config, 1, 1e15, true);
  EXPECT_EQ(recorded(), 64);
  EXPECT_EQ(micro_batch_words(config, 1),
            "1 micro-batch of 64 x 1024; balance loss over the 65536 tokens of one");
}

}  // namespace
}  // namespace moe::train
