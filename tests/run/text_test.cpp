// SPDX-License-Identifier: MIT
// A run and its text: another one that begins in the middle of it, one that was repaired, and the end that is
// given in passes or tokens.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "run/ranks_fixture.h"
#include "train/resume.h"

namespace moe {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

class RunText : public test::Ranks {
 protected:
  static std::vector<json> rows(const train::RunFolder& folder) {
    std::vector<json> found;
    std::istringstream text(read_file(folder.metrics()));
    for (std::string line; std::getline(text, line);)
      if (json row = json::parse(line); row.contains("loss")) found.push_back(row);
    return found;
  }
  static std::string refusal(const train::RunConfig& config, const train::RunFolder& folder) {
    try {
      train(config, folder, true);
    } catch (const UserError& error) {
      return error.what();
    }
    return "none";
  }
  static train::SavedState state(const train::RunFolder& folder, int64_t step) {
    return train::read_state(
        "", checkpoint::Checkpoint(checkpoint::CheckpointStore(folder.checkpoints(), 0).folder_of(step))
                .state_json());
  }
  train::RunConfig short_config(const std::string& name) const {
    train::RunConfig settings = config(name);
    settings.training.max_steps = 4;
    settings.training.lr_schedule = optim::Schedule::Kind::constant;  // max_steps is raised on the way
    settings.training.checkpoint_every = 2;
    settings.training.eval_every = 0;
    return settings;
  }
  void write(const std::string& name, const std::string& text) const {
    write_file_atomically(folder_ / name, text);
  }
  static std::string numbers(int lines) {
    std::string text;
    for (int i = 0; i < lines; ++i) text += std::to_string(i * 7919) + " is a number\n";
    return text;
  }
};

TEST_F(RunText, AnotherOneBeginsAtItsStartAndTheRestGoesOn) {
  write("numbers.txt", numbers(3000));
  const auto begun = [&](const std::string& name) {
    const train::RunConfig settings = short_config(name);
    train::RunFolder folder = train::RunFolder::create(settings, "");
    train(settings, folder, false);
    return folder;
  };
  train::RunConfig second = short_config("");
  second.data.source = {(folder_ / "numbers.txt").string()};
  second.training.max_steps = 8;
  const train::RunFolder straight = begun("straight"), broken = begun("broken");
  EXPECT_THAT(refusal(second, straight),
              AllOf(HasSubstr("the text this run was started on"), HasSubstr("data.stage=2")));
  second.data.stage = 2;
  train(second, straight, true);
  // The order of the text may be another now, too.
  const int64_t tokens = 3 * 2 * 48;
  EXPECT_EQ(state(straight, 8).cursor.tokens(), 8 * tokens);
  EXPECT_EQ(state(straight, 8).cursor.tokens_before, 4 * tokens);
  const auto all = rows(straight);
  ASSERT_EQ(all.size(), 8u);
  for (const json& row : all) {
    EXPECT_EQ(row.at("data_stage"), row.at("step") <= 4 ? 1 : 2);
    EXPECT_EQ(row.at("tokens"), row.at("step").get<int64_t>() * tokens);
  }
  // Broken off within the stage, with the same words: the same bits.
  second.training.max_steps = 6;
  train(second, broken, true);
  second.training.max_steps = 8;
  train(second, broken, true);
  EXPECT_EQ(weights(broken, 8), weights(straight, 8));
  EXPECT_EQ(states(broken, 8), states(straight, 8));
  second.data.stage = 1;
  EXPECT_THAT(refusal(second, straight), HasSubstr("data.stage: expected at least 2"));
}

TEST_F(RunText, OtherBytesOfTheSameSizeAreRefusedAndARepairIsNot) {
  train::RunConfig settings = short_config("run");
  const train::RunFolder folder = train::RunFolder::create(settings, "");
  train(settings, folder, false);
  std::string text = test::corpus();
  text[text.size() / 2] = 'X';
  write("corpus.txt", text);
  settings.training.max_steps = 6;
  EXPECT_THAT(refusal(settings, folder),
              AllOf(HasSubstr("another (bytes"), HasSubstr("data.check_text=false")));
  settings.data.check_text = false;
  EXPECT_EQ(train(settings, folder, true), train::Outcome::finished);
  // A text of another length has another order: there is no same place in it.
  write("corpus.txt", text + text);
  settings.training.max_steps = 8;
  EXPECT_THAT(refusal(settings, folder), AllOf(HasSubstr("units, as it was"), HasSubstr("data.stage=2")));
}

TEST_F(RunText, PassesAreCountedAndEndTheRunOnAnyNumberOfRanks) {
  write("corpus.txt", numbers(400));
  std::vector<size_t> steps;
  for (const int ranks : {1, 2}) {
    train::RunConfig settings = config_of("run" + std::to_string(ranks), ranks);
    settings.training.max_steps = 1000;
    settings.training.max_epochs = 2;
    const train::RunFolder folder = finished(ranks, settings);
    const auto all = rows(folder);
    steps.push_back(all.size());
    EXPECT_EQ(all.front().at("data_epoch"), 0);
    EXPECT_EQ(all.back().at("data_epoch"), 1);
    EXPECT_EQ(state(folder, std::ssize(all)).cursor.epoch(), 2);
    EXPECT_THAT(run(ranks, settings, folder, true), ::testing::Each("finished"));  // there is nothing to do
    EXPECT_EQ(rows(folder).size(), all.size());
  }
  EXPECT_GT(steps[0], 10u);
  EXPECT_LT(steps[0], 1000u);
  EXPECT_EQ(steps[0], steps[1]);
}

TEST_F(RunText, TokensGiveTheLastStepAndTheScheduleKnowsIt) {
  train::RunConfig by_steps = short_config("steps"), by_tokens = short_config("tokens");
  by_steps.training.lr_schedule = by_tokens.training.lr_schedule = optim::Schedule::Kind::cosine;
  by_steps.training.max_steps = 7;
  by_tokens.training.max_tokens = 7 * 3 * 2 * 48 - 5;
  by_steps.training.warmup_steps = 3;
  by_tokens.training.warmup_tokens = 2 * 3 * 2 * 48 + 1;
  for (const train::RunConfig& settings : {by_steps, by_tokens})
    train(settings, train::RunFolder::create(settings, ""), false);
  const auto expected = rows(train::RunFolder::open(folder_ / "steps")),
             found = rows(train::RunFolder::open(folder_ / "tokens"));
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i)
    EXPECT_EQ(found[i].at("learning_rate"), expected[i].at("learning_rate"));
  by_tokens.data.packing = data::Packing::pad;
  EXPECT_THROW(by_tokens.validate(), UserError);
}

// A micro-batch has 144 tokens, a step of full size 576: the run is 5 of these.
TEST_F(RunText, ABatchRampGrowsTheStepsAndSchedulesGoByTokens) {
  train::RunConfig settings = short_config("ramp");
  settings.training.lr_schedule = optim::Schedule::Kind::cosine;
  settings.training.gradient_accumulation_steps = 4;
  settings.training.batch_ramp = {"1:288", "2:864"};
  settings.training.max_tokens = 2880;
  settings.validate();
  train(settings, train::RunFolder::create(settings, ""), false);
  const std::vector<int64_t> micro_batches{1, 1, 2, 2, 4, 4, 4, 4}, places{0, 0, 0, 1, 1, 2, 3, 4};
  optim::Schedule full = schedule(settings.training);
  full.max_steps = 5;
  const auto found = rows(train::RunFolder::open(folder_ / "ramp"));
  ASSERT_EQ(found.size(), micro_batches.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].at("micro_batches"), micro_batches[i]);
    EXPECT_DOUBLE_EQ(
        found[i].at("learning_rate").get<double>(),
        optim::learning_rate(full, places[i]) * std::sqrt(static_cast<double>(micro_batches[i]) / 4));
  }
  settings.training.max_tokens = 0;
  EXPECT_THROW(settings.validate(), UserError);
}

TEST_F(RunText, OneFileIsValidatedOnItsEnd) {
  train::RunConfig settings = short_config("book");
  settings.data.document_split = data::DocumentSplit::file;
  settings.training.eval_every = 2;
  const train::RunFolder folder = train::RunFolder::create(settings, "");
  train(settings, folder, false);
  EXPECT_THAT(read_file(folder.metrics()), HasSubstr("validation_loss"));
}

}  // namespace
}  // namespace moe
