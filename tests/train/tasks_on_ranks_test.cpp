// SPDX-License-Identifier: MIT
// Evaluations on several ranks, as threads: the same scores as on one, whether each rank has the whole model
// or a part of the experts.
#include <gmock/gmock.h>

#include <cmath>

#include "backend/backend.h"
#include "support/configs.h"
#include "support/source_dir.h"
#include "support/streams.h"
#include "support/thread_ranks.h"
#include "tasks/task_set.h"
#include "text/gpt2_tokenizer.h"
#include "train/state.h"

namespace moe::train {
namespace {

using ::testing::Each;

struct Layout {
  int ranks = 1;
  ParallelLayout layout = ParallelLayout::data_parallel;
  int64_t degree = 0;
};

struct Scores {
  std::vector<tasks::TaskSet::Measured> measured;
  std::vector<tasks::ItemResult> items;  // of all tasks, in order
};

RunConfig tiny(int64_t length) {
  RunConfig config;
  config.model = test::tiny_config({.n_layers = 1,
                                    .n_heads = 2,
                                    .n_kv_heads = 1,
                                    .expert_intermediate_dim = 32,
                                    .capacity_factor = 1,
                                    .vocab_size = 50304,
                                    .max_seq_len = length});
  config.training.batch_size = 1;  // a few requests a batch, so that ranks have different numbers of them
  config.training.mixed_precision = MixedPrecision::no;
  return config;
}

Scores scores_of(const Layout& layout) {
  RunConfig config = tiny(32);
  config.distributed.layout = layout.layout;
  config.distributed.expert_parallel = layout.degree;
  std::vector<Scores> of_ranks(static_cast<size_t>(layout.ranks));
  const auto errors = test::on_threads(layout.ranks, [&](comm::Communicator& comm) {
    const backend::Backend backend = backend::make_backend(DeviceKind::cpu, 1, arithmetic(config.training));
    RankGroups groups(config.distributed, config.model, comm, *backend.device);
    int64_t vocabulary = text::Gpt2Tokenizer::kVocabulary;
    const auto [arena, state] =
        place<TrainingState>(*backend.device, config, vocabulary, groups, *backend.ops);
    state->transformer.prepare(*backend.device);
    state->weights.initialise(1, *backend.ops);
    model::cast_weights(state->weights, *backend.ops);
    state->replicas.start_parameter_all_gather();
    state->replicas.finish_parameter_all_gather();
    test::LogFile log;
    Terminal terminal(log.stream());
    const std::string folder = (test::source_dir() / "tests/golden/tasks").string();
    const tasks::TaskSet tasks(
        {"hellaswag=" + folder + "/hellaswag.jsonl", "lambada=" + folder + "/lambada.jsonl",
         "arc_easy=" + folder + "/arc_easy.parquet"},
        0, "", terminal);
    tasks::Scorer scorer(state->transformer, micro_batch(config, text::Gpt2Tokenizer::kVocabulary), comm,
                         *backend.device, *backend.ops);
    Scores& scores = of_ranks[static_cast<size_t>(comm.rank())];
    const text::Gpt2Tokenizer tokenizer;
    scores.measured =
        tasks.evaluate(scorer, tokenizer, terminal,
                       {.done = [&](tasks::Task, tasks::Convention,
                                    const tasks::ItemResult& item) { scores.items.push_back(item); },
                        .known = {}});
  });
  EXPECT_THAT(errors, Each(""));
  for (const Scores& rank : of_ranks)
    for (size_t t = 0; t < rank.measured.size(); ++t)
      EXPECT_EQ(rank.measured[t].values, of_ranks.front().measured[t].values) << "ranks differ";
  return of_ranks.front();
}

TEST(TasksOnRanks, ScoreAsOne) {
  const Scores one = scores_of({});
  ASSERT_EQ(one.items.size(), 7U + 7 + 4 + 5);
  for (const Layout& layout : {Layout{3}, {4, ParallelLayout::expert, 2}}) {
    const Scores many = scores_of(layout);
    ASSERT_EQ(many.items.size(), one.items.size());
    for (size_t i = 0; i < one.items.size(); ++i) {
      const tasks::ItemResult &a = one.items[i], &b = many.items[i];
      EXPECT_EQ(b.index, a.index);
      EXPECT_EQ(b.choice, a.choice);
      EXPECT_EQ(b.choice_normalised, a.choice_normalised);
      EXPECT_EQ(b.right, a.right);
      ASSERT_EQ(b.log_likelihood.size(), a.log_likelihood.size());
      for (size_t j = 0; j < a.log_likelihood.size(); ++j)
        EXPECT_NEAR(b.log_likelihood[j], a.log_likelihood[j], 1e-5 * std::abs(a.log_likelihood[j]));
    }
    for (size_t t = 0; t < one.measured.size(); ++t) {
      EXPECT_EQ(many.measured[t].items, one.measured[t].items);
      for (size_t v = 0; v < one.measured[t].values.size(); ++v) {
        const double expected = one.measured[t].values[v].second;
        EXPECT_NEAR(many.measured[t].values[v].second, expected, 1e-4 * std::abs(expected))
            << one.measured[t].values[v].first;
      }
    }
  }
}

// What is wrong with one rank's items ends the evaluation on all.
TEST(TasksOnRanks, ARequestThatDoesNotFitIsSaidOnAll) {
  const auto errors = test::on_threads(2, [&](comm::Communicator& comm) {
    const backend::Backend backend = backend::make_backend(DeviceKind::cpu, 1);
    const RunConfig config = tiny(8);
    RankGroups groups(config.distributed, config.model, comm, *backend.device);
    int64_t vocabulary = text::Gpt2Tokenizer::kVocabulary;
    const auto [arena, state] =
        place<TrainingState>(*backend.device, config, vocabulary, groups, *backend.ops);
    tasks::Scorer scorer(state->transformer, micro_batch(config, vocabulary), comm, *backend.device,
                         *backend.ops);
    const tasks::Request request{std::vector<int32_t>(20, 5), comm.rank() == 1 ? 12 : 1};
    scorer.score(std::span(&request, 1), false);
  });
  EXPECT_THAT(errors, Each(::testing::HasSubstr("rank 1: an item of a task")));
}

}  // namespace
}  // namespace moe::train
