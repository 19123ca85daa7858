// SPDX-License-Identifier: MIT
// A few steps of a tiny model on so many ranks (threads) in a given layout, and what comes of them.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "backend/backend.h"
#include "base/random.h"
#include "support/configs.h"
#include "support/thread_ranks.h"
#include "support/transfers_aside.h"
#include "tensor/fetch.h"
#include "train/report.h"
#include "train/state.h"
#include "train/step.h"

namespace moe::train {

using enum ParallelLayout;

inline constexpr int64_t kRows = 12, kLength = 16, kVocabulary = 90;

struct Setting {
  int ranks = 1;
  ParallelLayout layout = data_parallel;
  int64_t degree = 0;
  double capacity = 0, balance = 0;
  model::Recompute recompute = model::Recompute::none;
  int64_t steps = 50;
  int64_t rotated = 0;  // micro-batches that come last instead of first
  MixedPrecision precision = MixedPrecision::no;
  OptimizerKind optimizer = OptimizerKind::adamw;
  StoredType master = StoredType::fp32;
  int64_t rows = 1;  // of a micro-batch
  BalanceScope balance_over = BalanceScope::rank;
  bool overlap = false;
  double bucket_mb = 0;
  CapacityScope capacity_in = CapacityScope::rank;
  double rate = 1e-2;  // of learning
  // With a smaller one, AdamW moves a weight whose gradient is only rounding by a whole rate, to either side.
  double epsilon = 1e-5;
  RouterScore score = RouterScore::softmax;
  double bias_rate = 0, sequence = 0;
  bool dense = false;   // a dense layer, then one with a shared expert
  bool biased = false;  // biases on queries, keys and values
  std::string name() const {
    return fmt::format("{} ranks, {} {}{}, capacity {}, {}, {}", ranks, name_of(layout), degree,
                       overlap ? " in turns" : "", capacity, name_of(recompute), name_of(precision));
  }
};

struct Learnt {
  std::vector<StepResult> steps;
  std::vector<std::vector<float>> bias_of_ranks;  // of all layers, after all steps
  int64_t memory = 0;
};

inline data::Batch rows_of_text(int64_t begin, int64_t end) {
  const Random random(3, "text");
  data::Batch batch;
  batch.rows = end - begin, batch.length = kLength, batch.targets = batch.rows * kLength;
  for (int64_t n = begin * kLength; n < end * kLength; ++n) {
    // A few tokens are much more frequent: some experts have more to do, and there is something to learn.
    const auto token = [&](int64_t i) {
      const auto x = static_cast<int64_t>(random.below(static_cast<uint64_t>(i), kVocabulary));
      return static_cast<int32_t>(x * x / kVocabulary);
    };
    batch.input.push_back(token(n));
    batch.target.push_back(token(n + 1));
  }
  batch.first.assign(batch.input.size(), 0);
  return batch;
}

inline Learnt learn(const Setting& setting) {
  RunConfig config;
  config.model = test::tiny_config({.n_heads = 2,
                                    .n_kv_heads = 1,
                                    .expert_intermediate_dim = 32,
                                    .capacity_factor = setting.capacity,
                                    .aux_loss_weight = setting.balance,
                                    .max_seq_len = kLength});
  config.model.router_score = setting.score;
  config.model.router_bias_rate = setting.bias_rate;
  config.model.sequence_loss_weight = setting.sequence;
  if (setting.dense) config.model.first_dense_layers = 1, config.model.shared_expert_dim = 16;
  config.model.attention_bias = setting.biased;
  config.training.batch_size = setting.rows;
  config.training.mixed_precision = setting.precision;
  config.training.optimizer = setting.optimizer;
  config.training.epsilon = setting.epsilon;
  config.training.master_weights = setting.master;
  config.training.recompute = setting.recompute;
  config.distributed.layout = setting.layout;
  config.distributed.expert_parallel = setting.degree;
  config.distributed.balance_loss = setting.balance_over;
  config.distributed.overlap = setting.overlap;
  config.distributed.bucket_mb = setting.bucket_mb;
  config.distributed.capacity = setting.capacity_in;
  Learnt learnt;
  learnt.bias_of_ranks.resize(static_cast<size_t>(setting.ranks));
  const auto errors = test::on_threads(setting.ranks, [&](comm::Communicator& threads) {
    test::TransfersAside comm(threads);
    const backend::Backend backend = backend::make_backend(DeviceKind::cpu, 1, arithmetic(config.training));
    Device& device = *backend.device;
    RankGroups groups(config.distributed, config.model, comm, device, has_muon(setting.optimizer));
    int64_t vocabulary = kVocabulary;
    const auto [arena, state] = place<TrainingState>(device, config, vocabulary, groups, *backend.ops);
    state->transformer.prepare(device);
    state->weights.initialise(1, *backend.ops);
    model::cast_weights(state->weights, *backend.ops);
    state->replicas.start_parameter_all_gather();
    std::vector<data::Batch> batches;
    for (int64_t row = kRows * comm.rank() / comm.size(); row < kRows * (comm.rank() + 1) / comm.size();
         row += setting.rows)
      batches.push_back(rows_of_text(row, row + setting.rows));
    std::rotate(batches.begin(), batches.begin() + setting.rotated, batches.end());
    for (int64_t step = 0; step < setting.steps; ++step) {
      const StepTotals totals =
          run_step(*state, config.training, batches, {step, setting.rate}, device, *backend.ops);
      const StepResult result =
          read_step(state->transformer.sums(), state->transformer.fp8_census(), state->squares_g,
                    state->clip_scale_1, 1, totals.targets, totals.micro_batches, device);
      if (comm.rank() == 0) learnt.steps.push_back(result);
    }
    state->replicas.finish_parameter_all_gather();
    for (const model::Buffer& buffer : state->weights.buffers())
      for (const float bias : fetch<float>(buffer.value, device))
        learnt.bias_of_ranks[static_cast<size_t>(comm.rank())].push_back(bias);
    if (comm.rank() == 0) learnt.memory = arena->used();
  });
  EXPECT_THAT(errors, ::testing::Each("")) << setting.name();
  return learnt;
}

inline double largest_difference(const Learnt& a, const Learnt& b) {
  EXPECT_EQ(a.steps.size(), b.steps.size());
  double most = 0;
  for (size_t i = 0; i < std::min(a.steps.size(), b.steps.size()); ++i)
    most = std::max(most, std::abs(a.steps[i].loss - b.steps[i].loss));
  return most;
}

// Only the order of additions differs. What that can do one rank shows by itself, with its micro-batches in
// another order.
inline double order_of_additions(const Setting& setting, const Learnt& one) {
  double most = 0;
  for (const int64_t rotated : {3, 6, 9}) {
    Setting other = setting;
    other.rotated = rotated;
    most = std::max(most, largest_difference(one, learn(other)));
  }
  EXPECT_GT(most, 0);
  EXPECT_LT(most, 1e-3);
  return most;
}

}  // namespace moe::train
