// SPDX-License-Identifier: MIT
// All layouts learn the same from the same micro-batches: 1 to 4 ranks as threads, everything on each, the
// optimizer shared, expert parallelism over 2 and 4 ranks in one group and in two; with and without a limit
// of rows, kept and computed again.
#include "train/layouts.h"

namespace moe::train {
namespace {

using ::testing::Each;

TEST(Layouts, LearnTheSame) {
  for (const double capacity : {0.0, 1.0}) {
    const double balance = capacity == 0 ? 0 : 0.01;
    // With a limit, a last bit in a router's logit decides who is dropped: after 50 steps one rank differs
    // from itself by 0.03.
    const int64_t steps = capacity == 0 ? 50 : 10;
    const Setting alone{.capacity = capacity, .balance = balance, .steps = steps};
    const Learnt one = learn(alone);
    EXPECT_LT(one.steps.back().loss, one.steps.front().loss - 0.3) << "nothing was learnt";
    const double bound = 10 * order_of_additions(alone, one);
    if (capacity > 0) {
      EXPECT_GT(one.steps.front().dropped_share.front(), 0.01) << "nothing was dropped";
    }
    for (const Setting& other :
         {Setting{2, data_parallel},
          {3, data_parallel},
          {4, data_parallel},
          {2, zero1},
          {3, zero1},
          {4, zero1},
          {2, expert, 2},
          {4, expert, 4},
          {4, expert, 2},
          {3, expert, 1},
          {4, expert, 4, 0, 0, model::Recompute::selective},
          {4, expert, 2, 0, 0, model::Recompute::full},
          {.ranks = 2, .layout = expert, .overlap = true},
          {.ranks = 4, .layout = expert, .degree = 2, .overlap = true},
          {.ranks = 2, .layout = expert, .recompute = model::Recompute::selective, .overlap = true},
          {.ranks = 4, .layout = expert, .recompute = model::Recompute::full, .overlap = true}}) {
      Setting setting = other;
      setting.capacity = capacity, setting.balance = balance, setting.steps = steps;
      const Learnt many = learn(setting);
      EXPECT_LE(largest_difference(one, many), bound) << setting.name();
      // Before any update only sums differ: all that a step tells is the same.
      const StepResult &a = one.steps.front(), &b = many.steps.front();
      EXPECT_EQ(b.expert_count, a.expert_count) << setting.name();
      EXPECT_EQ(b.dropped_share, a.dropped_share) << setting.name();
      EXPECT_NEAR(b.gradient_norm, a.gradient_norm, 1e-5 * a.gradient_norm) << setting.name();
      for (size_t g = 0; g < a.group_norm.size(); ++g)
        EXPECT_NEAR(b.group_norm[g], a.group_norm[g], 1e-5 * a.group_norm[g])
            << setting.name() << ", group " << g;
      for (size_t l = 0; l < a.balance_loss.size(); ++l)
        EXPECT_NEAR(b.balance_loss[l], a.balance_loss[l], 1e-5) << setting.name();
    }
  }
}

// Owners of whole matrices, among ranks with all experts and with some. Newton-Schulz makes directions longer
// that are hardly there, those of rounding too: one rank shows by how much.
TEST(Layouts, LearnTheSameWithMuon) {
  const Setting alone{.steps = 20, .optimizer = OptimizerKind::muon};
  const Learnt one = learn(alone);
  EXPECT_LT(one.steps.back().loss, one.steps.front().loss - 0.3) << "nothing was learnt";
  const double bound = 10 * order_of_additions(alone, one);
  for (const Setting& other : {Setting{2, data_parallel}, {3, zero1}, {4, zero1}, {4, expert, 2}}) {
    Setting setting = other;
    setting.steps = alone.steps, setting.optimizer = alone.optimizer;
    EXPECT_LE(largest_difference(one, learn(setting)), bound) << setting.name();
  }
}

// Dense parts and biases are on every rank, whoever has the experts. Only the second layer has a router to
// tell of.
TEST(Layouts, LearnTheSameWithDenseParts) {
  for (const OptimizerKind optimizer : {OptimizerKind::adamw, OptimizerKind::muon}) {
    const Setting alone{.steps = 20, .optimizer = optimizer, .dense = true, .biased = true};
    const Learnt one = learn(alone);
    EXPECT_LT(one.steps.back().loss, one.steps.front().loss - 0.3) << "nothing was learnt";
    EXPECT_EQ(one.steps.front().expert_count.size(), 1);
    EXPECT_EQ(one.steps.front().balance_loss.size(), 1);
    const double bound = 10 * order_of_additions(alone, one);
    for (const Setting& other :
         {Setting{2, data_parallel},
          {4, zero1},
          {2, expert, 2},
          {4, expert, 2, 0, 0, model::Recompute::full},
          {.ranks = 2, .layout = expert, .recompute = model::Recompute::selective, .overlap = true}}) {
      Setting setting = other;
      setting.steps = alone.steps, setting.optimizer = optimizer;
      setting.dense = setting.biased = true;
      const Learnt many = learn(setting);
      EXPECT_LE(largest_difference(one, many), bound) << setting.name();
      EXPECT_EQ(many.steps.front().expert_count, one.steps.front().expert_count) << setting.name();
    }
  }
  const Setting cut{.steps = 5, .rows = 1, .balance_over = BalanceScope::global, .dense = true};
  Setting whole = cut;
  whole.rows = kRows;
  EXPECT_LT(largest_difference(learn(cut), learn(whole)), 1e-4);
}

// With two micro-batches in flight, what is on its way comes when it comes: the same bits each time, and but
// for the embedding's sums those of one after the other.
TEST(Layouts, RowsThatTravelBesideArithmeticChangeNoBit) {
  Setting setting{.ranks = 2, .layout = expert, .steps = 20, .overlap = true};
  const Learnt turns = learn(setting);
  EXPECT_EQ(largest_difference(turns, learn(setting)), 0);
  setting.overlap = false;
  const Learnt one_by_one = learn(setting);
  EXPECT_LT(one_by_one.memory, turns.memory);
  const StepResult &a = turns.steps.front(), &b = one_by_one.steps.front();
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_EQ(a.expert_count, b.expert_count);
  EXPECT_LT(largest_difference(turns, one_by_one), 1e-4);
}

// Rows that come from other ranks are quantised again, to the bits that they had. So experts see the same
// numbers wherever they are.
TEST(Layouts, RowsInFp8AreTheSameOnOtherRanks) {
  Setting setting{.ranks = 2, .steps = 10, .precision = MixedPrecision::fp8};
  const Learnt here = learn(setting);
  EXPECT_LT(here.steps.back().loss, here.steps.front().loss) << "nothing was learnt";
  setting.layout = expert;
  for (const bool overlap : {false, true}) {
    setting.overlap = overlap;
    const Learnt dealt = learn(setting);
    EXPECT_EQ(largest_difference(dealt, learn(setting)), 0);
    const StepResult &a = here.steps.front(), &b = dealt.steps.front();
    EXPECT_NEAR(b.loss, a.loss, 1e-6);
    EXPECT_EQ(b.expert_count, a.expert_count);
    EXPECT_NEAR(b.gradient_norm, a.gradient_norm, 1e-3 * a.gradient_norm);
    ASSERT_EQ(b.fp8.size(), a.fp8.size());
    for (const StepResult::Fp8Site& site : b.fp8) EXPECT_EQ(site.saturated_share, 0);
  }
}

// Parts of the optimizer change no bit: with masters in parts, with whole ones, and with those that are
// rounded at random.
TEST(Layouts, SharedOptimizerChangesNoBit) {
  struct Case {
    MixedPrecision precision;
    StoredType master;
    OptimizerKind optimizer;
  };
  for (const auto& [precision, master, optimizer] :
       {Case{MixedPrecision::no, StoredType::fp32, OptimizerKind::adamw8bit},
        {MixedPrecision::bf16, StoredType::fp32, OptimizerKind::adamw8bit},
        {MixedPrecision::bf16, StoredType::bf16, OptimizerKind::adamw8bit},
        {MixedPrecision::fp8, StoredType::fp32, OptimizerKind::adamw8bit},
        {MixedPrecision::no, StoredType::fp32, OptimizerKind::muon},
        {MixedPrecision::bf16, StoredType::fp32, OptimizerKind::muon8bit},
        {MixedPrecision::bf16, StoredType::bf16, OptimizerKind::muon8bit}})
    for (const int ranks : {2, 3, 4}) {
      Setting setting{
          .ranks = ranks, .steps = 10, .precision = precision, .optimizer = optimizer, .master = master};
      const Learnt all = learn(setting);
      setting.layout = zero1;
      const Learnt parts = learn(setting);
      EXPECT_EQ(largest_difference(all, parts), 0) << setting.name();
      EXPECT_LT(parts.memory, all.memory);
      setting.bucket_mb = 25;  // more than there is
      EXPECT_EQ(largest_difference(all, learn(setting)), 0) << "in few buckets";
    }
}

TEST(Layouts, ExpertsThatCannotBeDealtAreRefused) {
  const auto refusal = [](int ranks, int64_t degree, int64_t experts, int64_t width) {
    DistributedConfig distributed;
    distributed.layout = expert;
    distributed.expert_parallel = degree;
    model::ModelConfig model;
    model.num_experts = experts, model.d_model = width, model.expert_intermediate_dim = 16;
    std::vector<std::string> errors = test::on_threads(ranks, [&](comm::Communicator& comm) {
      const backend::Backend backend = backend::make_backend(DeviceKind::cpu, 1);
      const RankGroups groups(distributed, model, comm, *backend.device);
    });
    EXPECT_THAT(errors, Each(errors.front()));
    return errors.front();
  };
  EXPECT_THAT(refusal(3, 2, 4, 32), ::testing::HasSubstr("expected a divisor of the 3 ranks, found 2"));
  EXPECT_THAT(refusal(3, 0, 4, 32),
              ::testing::HasSubstr("expected a divisor of model.num_experts (4), found 3"));
  EXPECT_THAT(refusal(4, 4, 4, 8), ::testing::HasSubstr("a multiple of 256 weights, found 128"));
}

// With less room than all rows could need, too many for one rank end the step on all, with the setting that
// gives more.
TEST(Layouts, MoreRowsThanThereIsRoomForAreSaid) {
  DistributedConfig distributed;
  distributed.layout = expert;
  distributed.expert_buffer_factor = 1.5;
  model::ModelConfig model;
  model.num_experts = 4;
  const auto errors = test::on_threads(2, [&](comm::Communicator& comm) {
    const backend::Backend backend = backend::make_backend(DeviceKind::cpu, 1);
    RankGroups groups(distributed, model, comm, *backend.device);
    model::AllToAll& all_to_all = *groups.all_to_all();
    EXPECT_EQ(all_to_all.max_recv_tokens(100000, 200000), 150000);
    EXPECT_EQ(all_to_all.max_recv_tokens(64, 128), 128) << "a few tokens always have room";
    std::vector<int32_t> offset{0, 0, 1, 4, 6}, count(4),
        expert(9);  // rows of each rank: 1 for rank 0, 5 for rank 1
    const RoutePlan plan{.offset_E1 = {offset.data(), DType::i32, {5}},
                         .slot_R = {},
                         .row_NK = {},
                         .count_E = {count.data(), DType::i32, {4}},
                         .top1_count_E = {}};
    std::vector<int32_t> enough(10);
    all_to_all.exchange_counts(plan);
    const model::TokenCounts rows = all_to_all.recv_counts({enough.data(), DType::i32, {10}});
    EXPECT_EQ(rows.total_recv(), comm.rank() == 0 ? 2 : 10);
    all_to_all.exchange_counts(plan);
    all_to_all.recv_counts({expert.data(), DType::i32, {9}});
  });
  EXPECT_THAT(errors, Each(::testing::StartsWith(
                          "experts of rank 1: expected at most 9 rows from all ranks, found 10. "
                          "Hint: raise distributed.expert_buffer_factor")));
}

// The same with a capacity that is counted in each row: who is dropped does not depend on who else is in the
// micro-batch.
TEST(Layouts, ACapacityOfRowsDoesNotDependOnHowAStepIsCut) {
  const auto with = [](Setting setting, int64_t rows, CapacityScope in) {
    setting.rows = rows, setting.capacity = 1, setting.capacity_in = in, setting.steps = 3;
    setting.balance = 0.5, setting.balance_over = BalanceScope::global;
    return learn(setting);
  };
  const Learnt one = with({}, kRows, CapacityScope::row);
  EXPECT_EQ(largest_difference(with({}, 1, CapacityScope::row), with({}, 1, CapacityScope::rank)), 0)
      << "of one row both are the same";
  EXPECT_NE(with({}, kRows, CapacityScope::rank).steps.front().dropped_share,
            one.steps.front().dropped_share);
  EXPECT_GT(one.steps.front().dropped_share.front(), 0.01) << "nothing was dropped";
  for (const auto& [setting, rows] : {std::pair<Setting, int64_t>{{}, 1},
                                      {{}, 4},
                                      {{2, data_parallel}, 6},
                                      {{3, zero1}, 4},
                                      {{4, expert, 2}, 1},
                                      {{4, expert, 4, 0, 0, model::Recompute::full}, 3}}) {
    const Learnt many = with(setting, rows, CapacityScope::row);
    for (size_t step = 0; step < one.steps.size(); ++step) {
      const StepResult &a = one.steps[step], &b = many.steps[step];
      EXPECT_EQ(b.expert_count, a.expert_count) << setting.name() << ", rows " << rows;
      EXPECT_EQ(b.dropped_share, a.dropped_share) << setting.name() << ", rows " << rows;
      EXPECT_NEAR(b.loss, a.loss, 1e-5) << setting.name() << ", rows " << rows;
      EXPECT_NEAR(b.gradient_norm, a.gradient_norm, 1e-4 * a.gradient_norm) << setting.name();
    }
  }
}

// Rows of one token, which all go to the same experts, on the first two of four ranks only: their error is
// that of the other two, who would wait for them.
TEST(Layouts, RowsWithoutRoomEndTheStepOnRanksThatHaveRoom) {
  RunConfig config;
  config.model = test::tiny_config({.d_model = 16,
                                    .n_layers = 1,
                                    .n_heads = 1,
                                    .n_kv_heads = 1,
                                    .num_experts = 2,
                                    .top_k = 1,
                                    .expert_intermediate_dim = 16,
                                    .max_seq_len = kLength,
                                    .init_std = 0.02});
  config.training.batch_size =
      512;  // 8,192 rows: there is always room for these, but not for those of two ranks
  config.distributed.layout = expert;
  config.distributed.expert_parallel = 2;
  config.distributed.expert_buffer_factor = 1.5;
  const auto errors = test::on_threads(4, [&](comm::Communicator& comm) {
    const backend::Backend backend = backend::make_backend(DeviceKind::cpu, 1);
    RankGroups groups(config.distributed, config.model, comm, *backend.device);
    int64_t vocabulary = kVocabulary;
    const auto [arena, state] =
        place<TrainingState>(*backend.device, config, vocabulary, groups, *backend.ops);
    state->transformer.prepare(*backend.device);
    state->weights.initialise(1, *backend.ops);
    state->replicas.start_parameter_all_gather();
    data::Batch batch = rows_of_text(0, config.training.batch_size);
    if (comm.rank() < 2) std::fill(batch.input.begin(), batch.input.end(), 5);
    run_step(*state, config.training, {&batch, 1}, {0, 1e-2}, *backend.device, *backend.ops);
  });
  EXPECT_THAT(errors,
              Each(::testing::AllOf(::testing::StartsWith("rank 0: experts of rank "),
                                    ::testing::HasSubstr("at most 12288 rows from all ranks, found 16384"))));
}

}  // namespace
}  // namespace moe::train
