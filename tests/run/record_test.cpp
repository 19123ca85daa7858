// SPDX-License-Identifier: MIT
// What a run owes to its record: each validation, evaluation and sample once, whatever broke the run off, and
// all of it in the place where the folder is by now.
#include <gmock/gmock.h>

#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "metrics/shown.h"
#include "run/ranks_fixture.h"
#include "support/source_dir.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Record : public test::Ranks {
 protected:
  // Looks at the model in all ways, at steps 0, 2 and 4; no row is told from another by its time.
  train::RunConfig watched(const std::string& name) const {
    train::RunConfig config = Run::config(name);
    config.training.max_steps = 4;
    config.training.checkpoint_every = 1;
    config.training.eval_every = config.training.sample_every = config.training.tasks_every = 2;
    config.training.tasks = {"lambada=" + (test::source_dir() / "tests/golden/tasks/lambada.jsonl").string()};
    config.training.tasks_items = 2;
    config.model.max_seq_len = 96;
    config.training.sample_prompt = "the old";
    return config;
  }
  static std::vector<std::string> lines(const train::RunFolder& folder) {
    std::ifstream file(folder.metrics());
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }
  // Steps of the rows that have this name.
  static std::vector<int64_t> steps(const train::RunFolder& folder, const std::string& name) {
    std::vector<int64_t> found;
    for (const std::string& line : lines(folder))
      if (const auto row = nlohmann::json::parse(line); row.contains(name)) found.push_back(row.at("step"));
    return found;
  }
  static void expect_all_once(const train::RunFolder& folder) {
    EXPECT_THAT(steps(folder, "validation_loss"), ElementsAre(0, 2, 4));
    EXPECT_THAT(steps(folder, "tasks/lambada/lm_eval/acc"), ElementsAre(2, 4));
    EXPECT_THAT(steps(folder, "sample"), ElementsAre(2, 4));
    EXPECT_THAT(steps(folder, "loss"), ElementsAre(1, 2, 3, 4));
  }
  // Weights & Biases and TensorBoard show all of it in sections.
  static void expect_sections(const train::RunFolder& folder) {
    for (const std::string& line : lines(folder)) {
      const auto row = nlohmann::json::parse(line);
      for (const auto& [name, value] : row.items())
        EXPECT_TRUE(name == "step" || metrics::shown_name(name).find('/') != std::string::npos) << name;
    }
  }
  // As when the run was killed when all of the step but its checkpoint and its row of training was still to
  // come.
  static void forget(const train::RunFolder& folder, int64_t step) {
    std::string kept;
    for (const std::string& line : lines(folder)) {
      const auto row = nlohmann::json::parse(line);
      const int64_t of = row.at("step");
      if (of < step || (of == step && row.contains("loss"))) kept += line + "\n";
    }
    write_file_atomically(folder.metrics(), kept);
    const checkpoint::CheckpointStore store(folder.checkpoints(), 0);
    for (const int64_t later : store.steps())
      if (later > step) fs::remove_all(store.folder_of(later));
  }
};

TEST_F(Record, WhatWasDueWhenTheRunBrokeOffIsMadeOnResume) {
  const train::RunConfig config = watched("run");
  const train::RunFolder folder = train::RunFolder::create(config, "");
  EXPECT_EQ(train(config, folder, false), train::Outcome::finished);
  expect_all_once(folder);
  expect_sections(folder);
  const auto validation = column(folder, "validation_loss"),
             scores = column(folder, "tasks/lambada/lm_eval/perplexity");
  const std::string sample = read_file(folder.samples() / "step-00000004.txt");
  for (const int64_t step : {4, 2, 0}) {
    forget(folder, step);
    if (step == 0) fs::remove_all(folder.checkpoints());
    fs::remove(folder.samples() / "step-00000004.txt");
    // A signal while it is made up for: nothing half is written, and nothing is lost.
    const std::atomic<int> stop{SIGTERM};
    EXPECT_EQ(train(config, folder, true, stop), train::Outcome::signal);
    EXPECT_THAT(steps(folder, "validation_loss"), ::testing::SizeIs(static_cast<size_t>(step / 2)));
    EXPECT_EQ(train(config, folder, true), train::Outcome::finished);
    expect_all_once(folder);
    EXPECT_EQ(column(folder, "validation_loss"), validation);
    EXPECT_EQ(column(folder, "tasks/lambada/lm_eval/perplexity"), scores);
    EXPECT_EQ(read_file(folder.samples() / "step-00000004.txt"), sample);
    // Now the run is complete: nothing more to do.
    const auto before = lines(folder);
    EXPECT_EQ(train(config, folder, true), train::Outcome::finished);
    EXPECT_EQ(lines(folder), before);
  }
}

TEST_F(Record, ASignalToAnyRankIsServedInAValidation) {
  train::RunConfig config = watched("run");
  config.training.tasks.clear();
  config.training.max_steps = 2;
  const train::RunFolder folder = train::RunFolder::create(config, "");
  EXPECT_THAT(run(2, config, folder), Each("finished"));
  forget(folder, 2);
  EXPECT_THAT(run(2, config, folder, true, [](int rank) { return rank == 1 ? SIGUSR1 : 0; }),
              Each("stopped"));
  EXPECT_THAT(steps(folder, "validation_loss"), ElementsAre(0));
  EXPECT_THAT(run(2, config, folder, true), Each("finished"));
  EXPECT_THAT(steps(folder, "validation_loss"), ElementsAre(0, 2));
  EXPECT_THAT(steps(folder, "sample"), ElementsAre(2));
}

// A longer run after a finished one: its last step has been looked at.
TEST_F(Record, ARunThatIsLengthenedHasEachRowOnce) {
  train::RunConfig config = watched("run");
  config.training.max_steps = 2;
  const train::RunFolder folder = train::RunFolder::create(config, "");
  train(config, folder, false);
  config.training.max_steps = 4;
  EXPECT_EQ(train(config, folder, true), train::Outcome::finished);
  expect_all_once(folder);
}

TEST_F(Record, AFolderThatIsMovedOrDeletedLosesNothing) {
  const train::RunConfig still_config = config("still");
  const train::RunFolder still = train::RunFolder::create(still_config, "");
  train(still_config, still, false);
  const fs::path elsewhere = folder_ / "elsewhere";
  for (const bool deleted : {false, true}) {
    train::RunConfig settings = config(deleted ? "deleted" : "moved");
    const train::RunFolder folder = train::RunFolder::create(settings, "");
    EXPECT_EQ(
        train(settings, folder, false, kNever,
              [&] { deleted ? void(fs::remove_all(folder.path())) : fs::rename(folder.path(), elsewhere); }),
        train::Outcome::finished);
    const train::RunFolder found = train::RunFolder::open(deleted ? folder.path() : elsewhere);
    EXPECT_EQ(fs::exists(folder.path()), deleted);
    EXPECT_EQ(weights(found, 10), weights(still, 10));
    EXPECT_EQ(column(found, "loss"), column(still, "loss"));  // the first step's too
    EXPECT_EQ(column(found, "validation_loss"), column(still, "validation_loss"));
    EXPECT_TRUE(fs::exists(found.samples() / "step-00000010.txt"));
    EXPECT_EQ(train::RunConfig::load(found.config()).training.run_name, settings.training.run_name);
  }
}

// Known before the first step, and never the end of a run.
TEST_F(Record, PromptsAndItemsThatARowCannotTakeAreCutOrLeftOut) {
  train::RunConfig config = watched("run");
  config.training.max_steps = 2;
  config.model.max_seq_len = 48;
  for (int i = 0; i < 100; ++i) config.training.sample_prompt += " lamp";
  std::string long_word;
  for (int i = 0; i < 60; ++i) long_word += "x1y";
  const std::string items =
      "{\"text\": \"the old lamp is green\"}\n{\"text\": \"the old " + long_word + "\"}\n";
  write_file_atomically(folder_ / "items.jsonl", items);
  config.training.tasks = {"lambada=" + (folder_ / "items.jsonl").string()};
  const train::RunFolder folder = train::RunFolder::create(config, "");
  EXPECT_EQ(train(config, folder, false), train::Outcome::finished);
  EXPECT_THAT(steps(folder, "tasks/lambada/lm_eval/acc"), ElementsAre(2));
  EXPECT_TRUE(fs::exists(folder.samples() / "step-00000002.txt"));

  write_file_atomically(folder_ / "items.jsonl", "{\"text\": \"the old " + long_word + "\"}\n");
  config.training.run_name = "none";
  const train::RunFolder none = train::RunFolder::create(config, "");
  try {
    train(config, none, false);
    ADD_FAILURE() << "no error";
  } catch (const UserError& error) {
    EXPECT_THAT(error.found, ::testing::HasSubstr("items.jsonl: item 1 has "));
  }
  EXPECT_THAT(lines(none), IsEmpty());
}

}  // namespace
}  // namespace moe
