// SPDX-License-Identifier: MIT
// Whole runs on several ranks: the same losses as one rank, the same bits each time and over MPI, any rank's
// signal or error is that of all, and a run goes on with another number of ranks.
#include <gmock/gmock.h>

#include <fmt/format.h>

#include <cmath>
#include <csignal>
#include <tuple>

#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "run/ranks_fixture.h"

namespace moe {
namespace {

using test::OverMpi;
using test::Ranks;
using testing::Each;
using testing::HasSubstr;

// Only the order of additions differs. What that can do after fifty steps one rank shows by itself, with the
// same rows in other micro-batches; several ranks may differ by ten times as much (measured: 1.1 times).
TEST_F(Ranks, OneToFourLearnTheSameFor50Steps) {
  const auto losses = [&](const std::string& name, int ranks, int64_t micro_batches = 1) {
    train::RunConfig config = config_of(name, ranks, micro_batches);
    config.training.max_steps = 50;
    config.training.learning_rate = 1e-2;
    return column(finished(ranks, config), "loss");
  };
  const auto one = losses("one", 1);
  ASSERT_EQ(one.size(), 50U);
  EXPECT_LT(one.back(), one.front() - 2) << "nothing was learnt";
  double order = 0;
  for (const int64_t micro_batches : {2, 4})
    order = std::max(
        order, largest_difference(one, losses("micro" + std::to_string(micro_batches), 1, micro_batches)));
  EXPECT_GT(order, 0);
  EXPECT_LT(order, 1e-3);
  for (const int ranks : {2, 3, 4})
    EXPECT_LE(largest_difference(one, losses("ranks" + std::to_string(ranks), ranks)), 10 * order) << ranks;
}

// Each rank updates its part of the weights: the same bits as where each updates all, in all files of a
// checkpoint, and the same numbers in the rows. tests/train/layouts_test.cpp has other types and numbers of
// ranks.
TEST_F(Ranks, SharedOptimizerGivesTheBitsOfDataParallel) {
  const auto with = [&](train::ParallelLayout layout) {
    train::RunConfig config = config_of(std::string(name_of(layout)), 3);
    config.distributed.layout = layout;
    config.training.optimizer = train::OptimizerKind::adamw8bit;
    config.training.mixed_precision = train::MixedPrecision::bf16;
    config.training.gradient_type = train::StoredType::bf16;
    config.training.ema_decay = 0.9;
    config.training.max_steps = 3;
    config.training.eval_every = 3;
    config.training.max_grad_norm = 0.5;  // clips each step
    return finished(3, config);
  };
  const train::RunFolder everything = with(train::ParallelLayout::data_parallel),
                         parts = with(train::ParallelLayout::zero1);
  EXPECT_EQ(weights(everything, 3), weights(parts, 3));
  EXPECT_EQ(states(everything, 3), states(parts, 3));
  EXPECT_EQ(file(everything, 3, checkpoint::kAverageFile), file(parts, 3, checkpoint::kAverageFile));
  EXPECT_EQ(column(everything, "loss"), column(parts, "loss"));
  for (const char* const number :
       {"gradient_norm", "gradient_norm/experts", "weight_norm", "weight_norm/gate", "update_ratio/attention",
        "update_ratio/gate", "gradient_norm/gate"}) {
    const auto expected = column(everything, number), found = column(parts, number);
    ASSERT_GE(found.size(), 1U) << number;
    ASSERT_EQ(found.size(), expected.size()) << number;
    for (size_t i = 0; i < found.size(); ++i)
      EXPECT_NEAR(found[i], expected[i], 1e-12 * expected[i]) << number;
  }
  // Five groups are rounded up to blocks.
  EXPECT_LT(column(parts, "memory/optimizer state").front(),
            column(everything, "memory/optimizer state").front() / 3 + 5 * 256 * 8 + 4096);
}

// Ranks own whole matrices: of three ranks and an even number of matrices in pieces of different sizes.
TEST_F(Ranks, OwnersOfMatricesGiveTheBitsOfDataParallel) {
  const auto with = [&](train::ParallelLayout layout) {
    train::RunConfig config = config_of(std::string(name_of(layout)), 3);
    config.distributed.layout = layout;
    config.training.optimizer = train::OptimizerKind::muon8bit;
    config.training.muon_beta2 = 0.9;
    config.training.mixed_precision = train::MixedPrecision::bf16;
    config.training.max_steps = 3;
    return finished(3, config);
  };
  const train::RunFolder everything = with(train::ParallelLayout::data_parallel),
                         parts = with(train::ParallelLayout::zero1);
  EXPECT_EQ(weights(everything, 3), weights(parts, 3));
  EXPECT_EQ(states(everything, 3), states(parts, 3));
  EXPECT_LT(column(parts, "memory/optimizer state").front(),
            column(everything, "memory/optimizer state").front());
}

// Two groups of two ranks have all experts between them: what the rows of a run tell is what one rank tells
// that takes the same micro-batches. tests/train/layouts_test.cpp has all other ways to deal.
TEST_F(Ranks, DealtExpertsTellTheSame) {
  const auto with = [&](const std::string& name, int ranks) {
    train::RunConfig config = config_of(name, ranks, 4 / ranks);
    config.distributed.layout = train::ParallelLayout::expert;
    config.distributed.expert_parallel = 2;
    config.model.capacity_factor = 1;
    config.model.aux_loss_weight = 0.01;
    config.training.max_steps = 4;
    config.training.eval_every = 4;
    config.training.eval_tokens = 1000;  // eval_batches counts those of each rank
    return finished(ranks, config);
  };
  const train::RunFolder one = with("one", 1), four = with("four", 4);
  for (const char* const number :
       {"loss", "dropped_share", "balance_loss", "validation_loss", "gradient_norm/experts",
        "weight_norm/experts", "update_ratio/experts", "update_ratio/gate"}) {
    const auto expected = column(one, number), found = column(four, number);
    ASSERT_GT(found.size(), 0U) << number;
    ASSERT_EQ(found.size(), expected.size()) << number;
    for (size_t i = 0; i < found.size(); ++i)
      EXPECT_NEAR(found[i], expected[i], 1e-4 * std::abs(expected[i])) << number;
  }
  EXPECT_THAT(column(four, "ranks/slowest"), ::testing::SizeIs(3)) << "of the steps before";
  EXPECT_THAT(column(four, "ranks/slowest"), Each(::testing::AllOf(::testing::Ge(0), ::testing::Le(3))));
  EXPECT_THAT(column(four, "ranks/lost_seconds"), Each(::testing::Gt(0)));
  EXPECT_THAT(column(one, "ranks/slowest"), ::testing::IsEmpty());
}

// How far two runs moved each tensor apart in a step from the same weights: sum (a - b)^2 / sum (a -
// before)^2, the largest.
double update_error(const checkpoint::Safetensors& before, const checkpoint::Safetensors& a,
                    const checkpoint::Safetensors& b) {
  double most = 0;
  for (const auto& entry : before.entries()) {
    const auto from = before.values<float>(entry.name), x = a.values<float>(entry.name),
               y = b.values<float>(entry.name);
    double apart = 0, moved = 0;
    for (size_t i = 0; i < from.size(); ++i) {
      apart += std::pow(x[i] - y[i], 2);
      moved += std::pow(x[i] - from[i], 2);
    }
    EXPECT_GT(moved, 0) << entry.name;
    most = std::max(most, apart / moved);
  }
  return most;
}

// Saved by four ranks that share the experts, gone on with by other numbers of ranks in other layouts; bf16
// and 8-bit states. Another layout adds in another order, and its products have other shapes. That moves f32
// sums in their last bits, and the bf16 numbers made of them not at all or by 2^-8: how many, which processor
// and library decide. So nothing here is held against what some other order happened to do. The first step.
// Were all roundings of both runs different, their gradients were 2 * 5e-4 apart (normalised, the bound of
// bf16 in tests/model/transformer_test.cpp), and a token whose choice of experts turns exchanges one of about
// 96 rows of two experts: 2 / 96 of the square of their gradients. AdamW's step u = (m / c1) / (sqrt(v) / c2)
// moves by at most ((1 - beta1) / sqrt(1 - beta2) * c2 / c1 + |u|) dg / g = 1.5 dg / g at t = 6: 0.05 of the
// update's square, 0.1 with a margin of two. Measured on such a model, the largest of all tensors: 6e-14 for
// other micro-batches and for SSE4.1 and AVX in place of AVX2, 1.1e-3 for f32 in place of bf16, where all
// roundings differ, and 2.1 without the moments. The later ones. Differences grow, as those of weights turn
// choices and 8-bit codes. By the triangle two runs in bf16 are at most as far apart as both are from the
// same run in f32 together: twice the distance of one. Measured over 20 steps: 1.6e-3 from f32, and 2e-4 to
// 3e-4 for other micro-batches and instructions.
TEST_F(Ranks, DealtExpertsGoOnInAnyLayout) {
  const auto with = [&](const std::string& name, int ranks, train::ParallelLayout layout,
                        int64_t micro_batches) {
    train::RunConfig config = config_of(name, ranks, micro_batches);
    config.distributed.layout = layout;
    config.training.optimizer = train::OptimizerKind::adamw8bit;
    config.training.mixed_precision = train::MixedPrecision::bf16;
    config.training.max_steps = 25;
    return config;
  };
  train::RunConfig config = with("four", 4, train::ParallelLayout::expert, 1);
  config.training.checkpoint_every = 5;
  const train::RunFolder first = finished(4, config);
  const auto go_on = [&](int ranks, train::ParallelLayout layout, int64_t micro_batches,
                         train::MixedPrecision precision = train::MixedPrecision::bf16) {
    train::RunConfig other =
        with(fmt::format("to{}_{}_{}_{}", ranks, name_of(layout), micro_batches, name_of(precision)), ranks,
             layout, micro_batches);
    other.training.mixed_precision = precision;
    other.training.checkpoint_every = 6;
    train::RunFolder folder = train::RunFolder::create(other, "");
    test::fs::copy(checkpoint::CheckpointStore(first.checkpoints(), 0).folder_of(5),
                   checkpoint::CheckpointStore(folder.checkpoints(), 0).folder_of(5));
    EXPECT_THAT(run(ranks, other, folder, true), Each("finished"));
    return folder;
  };
  const auto saved = [](const train::RunFolder& folder, int64_t step) {
    return checkpoint::Safetensors(checkpoint::CheckpointStore(folder.checkpoints(), 0).folder_of(step) /
                                   "model.safetensors");
  };
  auto expected = column(first, "loss");
  expected.erase(expected.begin(), expected.begin() + 5);
  ASSERT_EQ(expected.size(), 20U);
  const train::RunFolder same = go_on(4, train::ParallelLayout::expert, 1);
  EXPECT_EQ(column(same, "loss"), expected);
  EXPECT_EQ(weights(same, 25), weights(first, 25));
  EXPECT_EQ(states(same, 25), states(first, 25));

  const checkpoint::Safetensors before = saved(same, 5), after = saved(same, 6);
  const double of_bf16 = largest_difference(
      column(go_on(1, train::ParallelLayout::zero1, 1, train::MixedPrecision::no), "loss"), expected);
  EXPECT_LT(of_bf16, 0.1);
  for (const auto& [ranks, layout, micro_batches] : {std::tuple{1, train::ParallelLayout::zero1, 1},
                                                     {1, train::ParallelLayout::zero1, 4},
                                                     {2, train::ParallelLayout::expert, 1},
                                                     {3, train::ParallelLayout::zero1, 1}}) {
    const train::RunFolder other = go_on(ranks, layout, micro_batches);
    EXPECT_LT(update_error(before, after, saved(other, 6)), 0.1) << ranks << name_of(layout) << micro_batches;
    EXPECT_LE(largest_difference(column(other, "loss"), expected), 2 * of_bf16)
        << ranks << name_of(layout) << micro_batches;
  }
}

// The same rows of a step in other pieces, and a number of tokens in any: one text, as eval_batches counts
// it, too.
TEST_F(Ranks, ValidateTheSameTextWhateverTheirNumberAndBatchSize) {
  const auto loss = [&](const std::string& name, int ranks, int64_t batch_size, int64_t eval_tokens) {
    train::RunConfig config = config_of(name, ranks);
    config.training.batch_size = batch_size;
    config.training.learning_rate = 0;
    config.training.max_steps = 1;
    config.training.eval_every = 1;
    config.training.eval_batches = 5;
    config.training.eval_tokens = eval_tokens;
    return column(finished(ranks, config), "validation_loss").front();
  };
  const double one = loss("one", 1, 4, 0), tokens = loss("tokens", 1, 4, 150);
  // The same losses of the same tokens, in f32: products of other heights may round otherwise, by some units
  // of 2^-24 each, and the mean of hundreds of them by less.
  const double bound = std::ldexp(1.0, -24);
  EXPECT_NEAR(loss("two", 2, 2, 0), one, bound * one);
  EXPECT_NEAR(loss("four", 4, 1, 0), one, bound * one);
  EXPECT_GT(std::abs(one - tokens), bound * one);  // of fewer tokens
  EXPECT_NEAR(loss("three", 3, 3, 150), tokens, bound * tokens);
  EXPECT_NEAR(loss("whole", 1, 12, 150), tokens, bound * tokens);
}

TEST_F(Ranks, ValidateTheSameTextAndCountTheSameExperts) {
  const auto with = [&](const std::string& name, int64_t ranks) {
    train::RunConfig config = config_of(name, ranks);
    config.training.batch_size = 3;
    config.training.learning_rate = 0;
    config.training.max_steps = 2;
    config.training.eval_every = 1;
    config.training.eval_tokens = 15 * config.model.max_seq_len;
    return config;
  };
  const train::RunFolder one = finished(1, with("one", 1)), three = finished(3, with("three", 3));
  const auto expected = column(one, "validation_loss"), found = column(three, "validation_loss");
  ASSERT_EQ(found.size(), 3U);
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-12 * expected[i]);
  EXPECT_EQ(column(one, "tokens").back() * 3, column(three, "tokens").back());
}

TEST_F(Ranks, TwiceGivesTheSameBitsAndResumedThem) {
  train::RunConfig config = config_of("straight", 3);
  config.training.optimizer = train::OptimizerKind::adamw8bit;
  config.training.checkpoint_every = 5;
  const train::RunFolder straight = finished(3, config);
  config.training.run_name = "resumed";
  const train::RunFolder resumed = train::RunFolder::create(config, "");
  test::fs::copy(checkpoint::CheckpointStore(straight.checkpoints(), 0).folder_of(5),
                 checkpoint::CheckpointStore(resumed.checkpoints(), 0).folder_of(5));
  EXPECT_THAT(run(3, config, resumed, true), Each("finished"));
  EXPECT_EQ(weights(straight, 10), weights(resumed, 10));
  EXPECT_EQ(states(straight, 10), states(resumed, 10));
  EXPECT_EQ(file(straight, 10, "state.json").find("straight"),
            file(resumed, 10, "state.json").find("resumed"));
}

// All ranks see the sums of all.
TEST_F(Ranks, SkipTheSameSpikes) {
  const auto spikes = [&](const std::string& name, int ranks) {
    train::RunConfig config = config_of(name, ranks);
    config.training.spike_sigma = 1;
    config.training.spike_window = 4;
    config.training.max_steps = 16;
    return column(finished(ranks, config), "spikes");
  };
  const auto one = spikes("one", 1);
  EXPECT_GT(one.back(), 0);
  EXPECT_EQ(spikes("two", 2), one);
  EXPECT_EQ(spikes("three", 3), one);
}

// 8-bit states too: the first step is that of a run that was not interrupted but for the order of additions,
// and so are the others where nothing is rounded to 8 bits.
TEST_F(Ranks, GoOnWithAnotherNumber) {
  const auto go_on = [&](train::OptimizerKind optimizer, int from, const std::vector<int>& others,
                         double bound) {
    const auto with = [&](int ranks, const std::string& name) {
      train::RunConfig config = config_of(std::string(name_of(optimizer)) + name, ranks);
      config.training.optimizer = optimizer;
      config.training.max_steps = 8;
      return config;
    };
    train::RunConfig config = with(from, "");
    config.training.checkpoint_every = 5;
    const train::RunFolder first = finished(from, config);
    const auto expected = column(first, "loss");
    for (const int ranks : others) {
      const train::RunConfig other = with(ranks, std::to_string(ranks));
      const train::RunFolder folder = train::RunFolder::create(other, "");
      test::fs::copy(checkpoint::CheckpointStore(first.checkpoints(), 0).folder_of(5),
                     checkpoint::CheckpointStore(folder.checkpoints(), 0).folder_of(5));
      EXPECT_THAT(run(ranks, other, folder, true), Each("finished"));
      const auto losses = column(folder, "loss");
      ASSERT_EQ(losses.size(), 3U);
      for (size_t i = 0; i < 3; ++i)
        EXPECT_NEAR(losses[i], expected[5 + i], i == 0 ? 1e-6 : bound) << name_of(optimizer) << " " << ranks;
    }
  };
  go_on(train::OptimizerKind::adamw, 1, {4}, 1e-6);
  go_on(train::OptimizerKind::adamw8bit, 2, {1, 3}, 1e-3);
  // Five steps of Newton-Schulz make a direction that is hardly there up to 990 times as long.
  go_on(train::OptimizerKind::muon, 3, {1, 4}, 1e-3);
}

TEST_F(Ranks, ASignalToOneStopsAll) {
  const train::RunConfig config = config_of("stopped", 3);
  const train::RunFolder folder = train::RunFolder::create(config, "");
  EXPECT_THAT(run(3, config, folder, false, [](int rank) { return rank == 2 ? SIGTERM : 0; }),
              Each("stopped"));
  EXPECT_EQ(checkpoint::CheckpointStore(folder.checkpoints(), 0).latest(), 1);
  EXPECT_THAT(run(3, config, folder, true), Each("finished"));
}

TEST_F(Ranks, TextThatOneCannotReadEndsAllWithTheStateSaved) {
  train::RunConfig config = config_of("broken", 3);
  config.data.source = {(folder_ / "corpus.jsonl").string()};
  std::string lines = test::lines_in_windows();
  lines[lines.rfind('{')] = '"';
  config.data.shuffle = false;
  config.data.shuffle_window_mb = 1;
  config.data.streams = 3;
  config.data.unit_kb = 64;
  config.training.max_steps = 40;  // more than one pass
  write_file_atomically(folder_ / "corpus.jsonl", lines);
  const train::RunFolder folder = train::RunFolder::create(config, "");
  EXPECT_THAT(run(3, config, folder), Each(HasSubstr("corpus.jsonl, line ")));
  EXPECT_TRUE(checkpoint::CheckpointStore(folder.checkpoints(), 0).latest().has_value());
}

TEST_F(OverMpi, GivesTheBitsOfThreads) {
  train::RunConfig config = config_of("threads", 2);
  config.training.threads = 1;
  config.training.max_steps = 3;
  config.training.eval_every = 2;
  const train::RunFolder threads = finished(2, config);
  write_file_atomically(folder_ / "settings.yaml", config.yaml());
  ASSERT_EQ(mpirun(2, "train --config " + (folder_ / "settings.yaml").string() + " training.run_name=mpi"), 0)
      << log();
  const train::RunFolder mpi = train::RunFolder::open(folder_ / "mpi");
  EXPECT_EQ(weights(mpi, 3), weights(threads, 3));
  EXPECT_EQ(column(mpi, "loss"), column(threads, "loss"));
  EXPECT_EQ(column(mpi, "validation_loss"), column(threads, "validation_loss"));
  EXPECT_THAT(log(), HasSubstr("2 ranks over MPI"));
  EXPECT_EQ(log().find("done at step 3"), log().rfind("done at step 3")) << "only rank 0 speaks";
}

// What threads do (tests/train/layouts_test.cpp has 50 steps of each layout) MPI does with the same bits.
TEST_F(OverMpi, EveryLayoutHasTheBitsOfThreads) {
  for (const auto& [ranks, layout, degree, capacity] :
       {std::tuple{3, train::ParallelLayout::data_parallel, 0, 0.0},
        {4, train::ParallelLayout::expert, 2, 0.0},
        {4, train::ParallelLayout::expert, 4, 1.0}}) {
    const std::string name = fmt::format("{}{}{}", name_of(layout), ranks, degree);
    train::RunConfig config = config_of(name, ranks);
    config.model.capacity_factor = capacity;
    config.distributed.layout = layout;
    config.distributed.expert_parallel = degree;
    config.training.threads = 1;
    config.training.max_steps = 2;
    const train::RunFolder threads = finished(ranks, config);
    write_file_atomically(folder_ / "settings.yaml", config.yaml());
    ASSERT_EQ(mpirun(ranks, fmt::format("train --config {} training.run_name={}_mpi",
                                        (folder_ / "settings.yaml").string(), name)),
              0)
        << log();
    const train::RunFolder mpi = train::RunFolder::open(folder_ / (name + "_mpi"));
    EXPECT_EQ(weights(mpi, 2), weights(threads, 2)) << name;
    EXPECT_EQ(states(mpi, 2), states(threads, 2)) << name;
  }
}

// A process that dies before the ranks have met leaves the others in MPI_Init, and mpirun may not notice.
TEST_F(OverMpi, ARankThatNeverStartsIsNotWaitedForWithoutEnd) {
  train::RunConfig config = config_of("never", 2);
  config.distributed.timeout_seconds = 1;
  write_file_atomically(folder_ / "never.yaml", config.yaml());
  EXPECT_NE(mpirun(1, "train --config " + (folder_ / "never.yaml").string() + " : -n 1 sleep 300"), 0);
  EXPECT_THAT(read_file(folder_ / "log"), HasSubstr("rank 0 of 2: expected all ranks to start within 2 s"));
}

TEST_F(OverMpi, AMistakeIsSaidOnce) {
  train::RunConfig config = config_of("wrong", 2);
  config.data.source = {(folder_ / "nowhere.txt").string()};
  write_file_atomically(folder_ / "settings.yaml", config.yaml());
  EXPECT_NE(mpirun(2, "train --config " + (folder_ / "settings.yaml").string()), 0);
  const std::string words = log();
  EXPECT_THAT(words, HasSubstr("nowhere.txt"));
  EXPECT_EQ(words.find("error: "), words.rfind("error: ")) << words;
  EXPECT_FALSE(test::fs::exists(folder_ / "wrong")) << "a run that could not start leaves nothing behind";
}

}  // namespace
}  // namespace moe
