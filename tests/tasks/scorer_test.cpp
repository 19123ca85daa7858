// SPDX-License-Identifier: MIT
// Scores against what the model gives for each request alone, whatever is packed beside it; the log that an
// interrupted evaluation goes on from; and the numbers made of them.
#include "tasks/scorer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "base/random.h"
#include "comm/solo.h"
#include "support/compare.h"
#include "support/configs.h"
#include "support/errors.h"
#include "support/tiny_model.h"
#include "tasks/item_log.h"
#include "tasks/task_set.h"
#include "text/gpt2_tokenizer.h"

namespace moe::tasks {
namespace {

namespace fs = std::filesystem;
using test::user_error_of;
using ::testing::HasSubstr;

constexpr int64_t kRows = 3, kLength = 24;

model::ModelConfig scorer_config() {
  return test::tiny_config({.d_model = 16,
                            .n_layers = 1,
                            .n_heads = 2,
                            .n_kv_heads = 1,
                            .expert_intermediate_dim = 16,
                            .capacity_factor = 0.5,  // must not matter
                            .vocab_size = 50304,
                            .max_seq_len = kLength,
                            .init_std = 0.02});
}

class ScorerTest : public ::testing::Test {
 protected:
  ScorerTest() : model_(scorer_config(), kRows, text::Gpt2Tokenizer::kVocabulary) {
    model_.weights->initialise(5, *model_.backend.ops);
  }
  Scorer scorer() {
    return {*model_.transformer,
            {.B = kRows, .T = kLength, .vocabulary = text::Gpt2Tokenizer::kVocabulary},
            alone_,
            *model_.backend.device,
            *model_.backend.ops};
  }
  // From the logits of every position, one request in an otherwise empty batch.
  Score alone(const Request& request) {
    constexpr auto N = static_cast<size_t>(kRows * kLength);
    const auto cut = std::max<int64_t>(0, std::ssize(request.ids) - 1 - kLength);
    std::vector<int32_t> input(request.ids.begin() + cut, request.ids.end() - 1), none(N, -1),
        first(input.size(), 0);
    input.resize(N, 0);
    first.resize(N, -1);
    model_.transformer->upload(*model_.backend.device, input.data(), none.data(), first.data());
    model_.transformer->forward(*model_.backend.ops);
    Score score{.log_likelihood = 0, .tokens = request.scored, .greedy = true};
    const auto length = std::ssize(request.ids) - 1 - cut;
    for (int64_t t = length - request.scored; t < length; ++t) {
      auto row = model_.fetch<float>(model_.transformer->logits(t, 1, *model_.backend.ops));
      row.resize(text::Gpt2Tokenizer::kVocabulary);
      const int32_t target = request.ids[static_cast<size_t>(cut + t + 1)];
      double sum = 0;
      for (const float x : row) sum += std::exp(static_cast<double>(x));
      score.log_likelihood += row[static_cast<size_t>(target)] - std::log(sum);
      score.greedy = score.greedy && std::max_element(row.begin(), row.end()) - row.begin() == target;
    }
    return score;
  }
  // The text that the model writes after `ids`: greedy by construction.
  Request greedy(std::vector<int32_t> ids, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      Request probe{ids, 1};
      probe.ids.push_back(0);
      alone(probe);
      auto row = model_.fetch<float>(model_.transformer->logits(std::ssize(ids) - 1, 1, *model_.backend.ops));
      row.resize(text::Gpt2Tokenizer::kVocabulary);
      ids.push_back(static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
    }
    return {ids, count};
  }

  test::TinyModel model_;
  comm::SoloCommunicator alone_;
};

TEST_F(ScorerTest, PackedRequestsScoreAsAlone) {
  std::vector<Request> requests;
  const Random random(1, "requests");
  uint64_t draw = 0;
  for (const int64_t length : {2, 25, 9, 24, 3, 14, 7, 31, 5, 2, 11, 18}) {
    Request request;
    for (int64_t i = 0; i < length; ++i)
      request.ids.push_back(static_cast<int32_t>(random.below(draw++, 50257)));
    request.scored = 1 + static_cast<int64_t>(
                             random.below(draw++, static_cast<uint64_t>(std::min<int64_t>(length - 1, 6))));
    requests.push_back(std::move(request));
  }
  requests.push_back(greedy({50256, 17, 400}, 2));
  int64_t done = 0;
  const auto scores = scorer().score(requests, true, [&](int64_t n) { done += n; });
  EXPECT_EQ(done, std::ssize(requests));
  for (size_t i = 0; i < requests.size(); ++i) {
    const Score expected = alone(requests[i]);
    EXPECT_NEAR(scores[i].log_likelihood, expected.log_likelihood, 2e-5 * std::abs(expected.log_likelihood))
        << i;
    EXPECT_EQ(scores[i].tokens, expected.tokens);
    EXPECT_EQ(scores[i].greedy, expected.greedy) << i;
  }
  EXPECT_TRUE(scores.back().greedy);
}

TEST_F(ScorerTest, AContinuationThatDoesNotFitIsRefused) {
  const Request request{std::vector<int32_t>(40, 5), 30};
  EXPECT_THAT(user_error_of([&] { scorer().score(std::span(&request, 1), false); }),
              HasSubstr("at most 24 tokens"));
}

TEST_F(ScorerTest, AnInterruptedEvaluationGoesOnWhereItWas) {
  const fs::path folder = fs::path(::testing::TempDir()) / ("moe_tasks_" + std::to_string(getpid()));
  fs::create_directories(folder);
  std::string items;
  for (int i = 0; i < 6; ++i)
    items +=
        R"({"goal":"goal )" + std::to_string(i) + R"(","sol1":"one","sol2":"two of them","label":1})" + "\n";
  write_file_atomically(folder / "piqa.jsonl", items);
  std::FILE* quiet = std::fopen("/dev/null", "w");
  Terminal terminal(quiet);
  const text::Gpt2Tokenizer tokenizer;
  const TaskSet tasks({"piqa=" + (folder / "piqa.jsonl").string()}, 0, folder / "cache", terminal);
  const fs::path file = folder / "items.jsonl";
  Scorer scores = scorer();
  std::vector<TaskSet::Measured> whole;
  {
    ItemLog log(file, "model");
    whole = tasks.evaluate(scores, tokenizer, terminal, log.record());
  }
  const std::string all = read_file(file);
  size_t half = 0;  // the first line, three items, and half of the next
  for (int line = 0; line < 4; ++line) half = all.find('\n', half) + 1;
  fs::resize_file(file, half + 9);
  {
    ItemLog log(file, "model");
    EXPECT_EQ(log.known(), 3U);
    EXPECT_EQ(tasks.evaluate(scores, tokenizer, terminal, log.record()).front().values, whole.front().values);
  }
  EXPECT_EQ(read_file(file), all);
  EXPECT_THAT(user_error_of([&] { const ItemLog other(file, "another model"); }),
              HasSubstr("results of another model"));
  std::fclose(quiet);
  fs::remove_all(folder);
}

ItemResult item(bool right, double likelihood) {
  ItemResult result;
  result.right = right;
  result.right_normalised = !right;
  result.log_likelihood = {likelihood};
  return result;
}

TEST(Summary, MeansAndTheirErrors) {
  const std::vector<ItemResult> items{item(true, -1), item(true, -2), item(false, -3), item(true, -2)};
  const auto values = summarise(Task::piqa, items);
  ASSERT_EQ(values.size(), 4U);
  EXPECT_EQ(values[0], (std::pair<std::string, double>{"acc", 0.75}));
  EXPECT_NEAR(values[1].second, 0.25, 1e-12);  // sqrt((3 * 0.0625 + 0.5625) / 3 / 4)
  EXPECT_EQ(values[2], (std::pair<std::string, double>{"acc_norm", 0.25}));
  const auto lambada = summarise(Task::lambada, items);
  EXPECT_EQ(lambada[2].first, "perplexity");
  EXPECT_NEAR(lambada[2].second, std::exp(2.0), 1e-9);
}

TEST(Judge, EachConventionHasItsOwnLength) {
  const Question question{.context = "c", .continuations = {" aaaa", " bb"}, .characters = {4, 2}, .gold = 0};
  const std::vector<Score> scores{{-4, 1, false}, {-3, 2, false}};
  const ItemResult lm = judge(question, Task::hellaswag, Convention::lm_eval, scores);
  EXPECT_EQ(lm.choice, 1);             // -3
  EXPECT_EQ(lm.choice_normalised, 0);  // -4 / 4 against -3 / 2
  const ItemResult raw = judge(question, Task::hellaswag, Convention::llm_c, scores);
  EXPECT_EQ(raw.choice_normalised, 1);  // -4 / 1 against -3 / 2
}

}  // namespace
}  // namespace moe::tasks
