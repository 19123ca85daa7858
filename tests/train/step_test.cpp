// SPDX-License-Identifier: MIT
// A step of several micro-batches against one of a large one, and against itself: the first micro-batch
// writes the gradients and the others add.
#include "train/step.h"

#include <gtest/gtest.h>

#include "backend/backend.h"
#include "base/random.h"
#include "comm/solo.h"
#include "support/compare.h"
#include "support/configs.h"
#include "tensor/host_floats.h"
#include "text/gpt2_tokenizer.h"

namespace moe::train {
namespace {

constexpr int64_t kRows = 6, kLength = 16;

// Rows [begin, end) of the step.
data::Batch rows(int64_t begin, int64_t end) {
  const Random random(3, "step");
  const auto id = [&](int64_t index) {
    return static_cast<int32_t>(random.below(static_cast<uint64_t>(index), 5000));
  };
  data::Batch batch;
  batch.rows = end - begin;
  batch.length = kLength;
  for (int64_t n = begin * kLength; n < end * kLength; ++n) {
    batch.input.push_back(id(2 * n));
    batch.target.push_back(id(2 * n + 1));
  }
  batch.first.assign(batch.input.size(), 0);
  batch.targets = std::ssize(batch.target);
  return batch;
}

// The gradients after each of three steps of `micro_batches` micro-batches; the weights stay.
std::vector<std::vector<double>> gradients(int64_t micro_batches, std::optional<StoredType> type) {
  RunConfig config;
  config.model = test::tiny_config({.aux_loss_weight = 0,  // of a micro-batch, not of a step
                                    .vocab_size = 50304,
                                    .max_seq_len = kLength,
                                    .init_std = 0.02});
  config.training.batch_size = kRows / micro_batches;
  config.training.mixed_precision = type ? MixedPrecision::bf16 : MixedPrecision::no;
  if (type) config.training.gradient_type = *type;
  const backend::Backend backend = backend::make_backend(DeviceKind::cpu, 2);
  Device& device = *backend.device;
  comm::SoloCommunicator alone;
  RankGroups groups(config.distributed, config.model, alone, device);
  const auto [arena, state] =
      place<TrainingState>(device, config, text::Gpt2Tokenizer::kVocabulary, groups, *backend.ops);
  state->transformer.prepare(device);
  state->weights.initialise(1, *backend.ops);
  model::cast_weights(state->weights, *backend.ops);

  std::vector<data::Batch> batches;
  for (int64_t i = 0; i < micro_batches; ++i)
    batches.push_back(rows(i * kRows / micro_batches, (i + 1) * kRows / micro_batches));
  std::vector<std::vector<double>> steps;
  for (int64_t step = 0; step < 3; ++step) {
    run_step(*state, config.training, batches, {step, 0.0}, device, *backend.ops);
    std::vector<double>& all = steps.emplace_back();
    for (const Parameter& parameter : state->weights.list())
      for (const float g : host_floats(parameter.gradient, device)) all.push_back(static_cast<double>(g));
  }
  return steps;
}

TEST(Step, MicroBatchesGiveTheGradientOfAllTheirRows) {
  const auto whole = gradients(1, {});
  for (const int64_t micro_batches : {2, 3}) {
    const auto parts = gradients(micro_batches, {});
    EXPECT_TRUE(test::close(parts[0], whole[0], test::kBoundF32)) << micro_batches;
    EXPECT_EQ(parts[1], parts[0]) << "the step before left something";
    EXPECT_EQ(parts[2], parts[0]);
  }
}

// The roundings of all partial sums: n / 3 of one (docs/numerics.md), at most n / 2.
TEST(Step, Bf16GradientsAreRoundedAtEachMicroBatch) {
  const auto wide = gradients(6, StoredType::fp32), narrow = gradients(6, StoredType::bf16);
  EXPECT_TRUE(test::close(narrow[0], wide[0], 2.8e-6 * 6 / 2));
  EXPECT_NE(narrow[0], wide[0]);
  EXPECT_EQ(narrow[2], narrow[0]);
}

}  // namespace
}  // namespace moe::train
