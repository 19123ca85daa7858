// SPDX-License-Identifier: MIT
// moe compare with arms of a few steps: the batches are the same, the pairs are right, it goes on where it
// was, and what cannot be compared is refused before anything is trained.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "support/cli.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Compare : public Cli {
 protected:
  void SetUp() override {
    Cli::SetUp();
    put("base.yaml", std::string(kTinyConfig) + "data: {source: text.txt, document_split: line}\n");
    put("low.yaml", "training: {learning_rate: 0.0001}\n");
    put("high.yaml", "training: {learning_rate: 0.01}\n");
  }

  CommandResult compare(const std::string& words) const {
    return moe("compare --config base.yaml -o out " + words);
  }
  json result() const { return json::parse(read_file(folder_ / "out/compare.json")); }
  // The first value of this name in the record of a run.
  double recorded(const std::string& run, int step, const std::string& name) const {
    std::ifstream rows(folder_ / "out" / run / "metrics.jsonl");
    for (std::string line; std::getline(rows, line);)
      if (const auto row = json::parse(line); row["step"] == step && row.contains(name)) return row[name];
    ADD_FAILURE() << run << " has no " << name << " at step " << step;
    return 0;
  }
  void trains_nothing(const CommandResult& refused, const std::string& setting) const {
    complains(refused, AllOf(HasSubstr(setting), Not(HasSubstr("step 1"))));
    EXPECT_FALSE(fs::exists(folder_ / "out")) << refused.output;
  }
};

TEST_F(Compare, ArmsSeeTheSameBatchesAndPairsAreOfOneSeed) {
  const CommandResult made = compare("low.yaml high.yaml --seeds 2 --steps 4 --evaluations 2");
  ASSERT_EQ(made.code, 0) << made.output;
  EXPECT_THAT(made.output,
              AllOf(HasSubstr("run 4 of 4, high-seed1235: validation loss"), HasSubstr("verdict: high"),
                    HasSubstr("2 arms, 2 seeds; 4 steps"), Not(HasSubstr("memory  ")),
                    Not(HasSubstr("step 1")), HasSubstr("training.learning_rate: 0.0001, other 0.01")));
  for (const char* name : {"loss", "tokens"}) {
    EXPECT_EQ(recorded("low-seed1234", 1, name), recorded("high-seed1234", 1, name)) << name;
    EXPECT_EQ(recorded("low-seed1235", 1, name), recorded("high-seed1235", 1, name)) << name;
  }
  EXPECT_NE(recorded("low-seed1234", 1, "loss"), recorded("low-seed1235", 1, "loss"));
  EXPECT_NE(recorded("low-seed1234", 4, "loss"), recorded("high-seed1234", 4, "loss"));

  const json all = result();
  ASSERT_EQ(all["arms"].size(), 2U);
  const json& high = all["arms"][1];
  double sum = 0;
  for (size_t k = 0; k < 2; ++k) {
    const std::string seed = "-seed" + std::to_string(1234 + k);
    const double mine = recorded("high" + seed, 4, "validation_loss"),
                 other = recorded("low" + seed, 4, "validation_loss");
    EXPECT_EQ(high["runs"][k]["loss"], mine);
    EXPECT_DOUBLE_EQ(high["runs"][k]["difference"].get<double>(), mine - other);
    EXPECT_EQ(high["runs"][k]["curve"]["step"], json({0, 2, 4}));
    EXPECT_EQ(high["runs"][k]["tokens"], 4 * 64);
    sum += mine - other;
  }
  EXPECT_NEAR(high["difference"]["mean"].get<double>(), sum / 2, 1e-12);
  EXPECT_LT(high["difference"]["mean"].get<double>(), 0);
  EXPECT_LT(high["tokens_to_equal_loss_share"]["mean"].get<double>(), 1);
  EXPECT_THAT(read_file(folder_ / "out/compare.html"),
              AllOf(HasSubstr("\"comparison\":{"), HasSubstr("Chart.js"), Not(HasSubstr("src=\"http"))));
  EXPECT_EQ(moe("eval out/high-seed1235 --max-batches 1").code, 0);  // an ordinary run
}

TEST_F(Compare, GoesOnWhereItWasAndRefusesOtherSettings) {
  const std::string words = "low.yaml high.yaml --steps 3 ";
  const CommandResult one = compare(words + "--seeds 1");
  ASSERT_EQ(one.code, 0) << one.output;
  EXPECT_THAT(one.output, HasSubstr("one seed tells no spread"));
  EXPECT_TRUE(result()["arms"][1]["difference"]["standard_error"].is_null());
  const json before = result();
  fs::remove_all(folder_ / "out/high-seed1234");
  const CommandResult more = compare(words + "--seeds 2 --json");
  ASSERT_EQ(more.code, 0) << more.output;
  EXPECT_THAT(more.output, AllOf(HasSubstr("run 1 of 4, low-seed1234: done already"),
                                 HasSubstr("run 2 of 4, high-seed1234: validation loss")));
  EXPECT_EQ(result()["arms"][1]["runs"][0]["loss"], before["arms"][1]["runs"][0]["loss"]);
  EXPECT_EQ(result()["arms"][0]["runs"].size(), 2U);

  complains(compare("low.yaml high.yaml --steps 4"), HasSubstr("3 steps, as the comparison was begun"));
  complains(compare("high.yaml low.yaml --steps 3"), HasSubstr("the arm low"));
  complains(compare(words + "training.beta2=0.9"),
            AllOf(HasSubstr("out/arms.json: arm low"), HasSubstr("training.beta2: 0.95, other 0.9")));
  EXPECT_EQ(result()["arms"][0]["runs"].size(), 2U);
}

// Two seconds, then SIGTERM (which timeout sends twice): saved, and the same command goes on from there.
TEST_F(Compare, ASignalSaves) {
  const std::string command = "--version > /dev/null; timeout --preserve-status -s TERM 3 '" MOE_PROGRAM
                              "' compare --config base.yaml -o out low.yaml high.yaml --steps 10000000 "
                              "--evaluations 1 --verbose";
  const CommandResult stopped = moe(command);
  EXPECT_EQ(stopped.code, 128 + 15) << stopped.output;
  EXPECT_THAT(stopped.output, HasSubstr("The same command goes on from here"));
  EXPECT_FALSE(fs::exists(folder_ / "out/high-seed1234"));
  const CommandResult again = moe(command);
  EXPECT_EQ(again.code, 128 + 15) << again.output;
  EXPECT_THAT(again.output, HasSubstr("resumed from"));
}

TEST_F(Compare, ABudgetBecomesSteps) {
  const CommandResult made = compare("low.yaml high.yaml --seeds 1 --budget 1s");
  ASSERT_EQ(made.code, 0) << made.output;
  EXPECT_THAT(made.output, HasSubstr("a step, so "));
  EXPECT_FALSE(fs::exists(folder_ / "out/calibration"));
  const json all = result();
  for (const json& arm : all["arms"]) {
    EXPECT_EQ(arm["runs"][0]["curve"]["step"].back(), arm["steps"]);
    EXPECT_GT(arm["runs"][0]["seconds"].get<double>(), 0.2);  // a busy machine is far from even
    EXPECT_LT(arm["runs"][0]["seconds"].get<double>(), 5);
  }
  const CommandResult again = compare("low.yaml high.yaml --seeds 1 --budget 1s");
  EXPECT_EQ(again.code, 0) << again.output;
  EXPECT_THAT(again.output, AllOf(HasSubstr("done already"), Not(HasSubstr("measuring"))));
  complains(compare("low.yaml high.yaml --seeds 1 --budget 2s"), HasSubstr("1.00 s of training"));
}

TEST_F(Compare, WhatCannotBeComparedIsNamed) {
  for (const auto& [other, setting] : std::initializer_list<std::pair<const char*, const char*>>{
           {"model: {max_seq_len: 16}\n", "model.max_seq_len of other"},
           {"training: {batch_size: 4}\n", "training.batch_size"},
           {"data: {source: config.yaml}\n", "data.source of other"},
           {"data: {shuffle: false}\n", "data.shuffle of other"},
           {"data: {validation_fraction: 0}\ntraining: {eval_every: 0}\n", "data.validation_fraction"},
           {"training: {batch_ramp: [\"1:64\"], gradient_accumulation_steps: 2, batch_size: 1, max_tokens: "
            "999}\n",
            "training.batch_ramp of other"},
           {"training: {learning_rat: 1}\n", "training.learning_rate"}}) {
    put("other.yaml", other);
    trains_nothing(compare("low.yaml other.yaml --steps 3"), setting);
  }
  put("other.yaml", "training: {batch_size: 1, gradient_accumulation_steps: 2}\ndata: {num_workers: 1}\n");
  EXPECT_EQ(compare("low.yaml other.yaml --steps 2 --seeds 1").code, 0);
  EXPECT_EQ(recorded("low-seed1234", 0, "validation_loss"), recorded("other-seed1234", 0, "validation_loss"));
  EXPECT_NEAR(recorded("low-seed1234", 1, "loss"), recorded("other-seed1234", 1, "loss"), 1e-4);
  fs::remove_all(folder_ / "out");
  trains_nothing(compare("low.yaml --steps 3"), "two configurations at least");
  trains_nothing(compare("low.yaml missing.yaml --steps 3"), "missing.yaml");
  trains_nothing(compare("low.yaml high.yaml --budget 10x"), "--budget");
  trains_nothing(compare("low.yaml high.yaml --budget 1m --steps 3"), "--budget");
  trains_nothing(compare("low.yaml high.yaml --steps 3 data.source=missing.txt"), "missing.txt");
  trains_nothing(compare("low.yaml high.yaml --budget 1s data.source=missing.txt"), "missing.txt");
}

}  // namespace
}  // namespace moe
