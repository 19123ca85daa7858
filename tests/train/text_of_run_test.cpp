// SPDX-License-Identifier: MIT
#include "train/text_of_run.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/terminal.h"
#include "data/source.h"
#include "support/configs.h"
#include "support/errors.h"
#include "support/folder.h"
#include "support/streams.h"
#include "text/gpt2_tokenizer.h"
#include "train/layer.h"

namespace moe::train {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class TextOfRunTest : public ::testing::Test {
 protected:
  TextOfRunTest() {
    std::string text;
    for (int i = 0; i < 100; ++i) text += "word\n";  // two tokens and an end each
    folder_.put("a.txt", text);
    folder_.put("b.txt", text);
    config_.model.max_seq_len = 10;
    config_.training.batch_size = 3;
    config_.training.max_steps = 20;  // 600 tokens
    config_.data.source = {place("a.txt")};
    config_.data.document_split = data::DocumentSplit::line;
    config_.data.validation_fraction = 0;
  }
  std::string place(const std::string& name) const { return (folder_.path() / name).string(); }
  TextOfRun text(int64_t step = 0, int64_t tokens = 0) const {
    test::LogFile log;
    Terminal terminal{log.stream()};
    const auto source = data::open_training_source(config_.data, terminal);
    return text_of_run(config_, *source, *config_.data.tokenizer.open(), 1, step, tokens);
  }

  test::TestFolder folder_;
  RunConfig config_;
};

TEST_F(TextOfRunTest, ItSaysHowOftenTheTextIsRead) {
  EXPECT_THAT(text().lines,
              ElementsAre("text      500 B in 1 file, about 300 tokens; the run reads 600: 2.0 passes"));
  EXPECT_EQ(text().warning, "");
  config_.training.max_steps = 10;
  EXPECT_THAT(text().lines, ElementsAre(HasSubstr("reads 300: one pass")));
  config_.training.max_steps = 1;
  EXPECT_THAT(text().lines, ElementsAre(HasSubstr("reads 30: 10 % of one pass")));
  config_.training.max_minutes = 3;
  EXPECT_THAT(text().lines, ElementsAre(HasSubstr("reads at most 30")));
  config_.training.max_minutes = 0;
  config_.training.max_tokens = 900;
  EXPECT_THAT(text().lines, ElementsAre(HasSubstr("reads 900: 3.0 passes")));
  EXPECT_THAT(text(20, 600).lines, ElementsAre(HasSubstr("; still to read: 300: one pass")));
}

TEST_F(TextOfRunTest, ManyPassesOverLittleTextAreWarnedOf) {
  config_.training.max_steps = 1000;
  EXPECT_THAT(text().warning, AllOf(HasSubstr("its text 100 times"), HasSubstr("training.max_epochs=16")));
  EXPECT_EQ(text(1, 30).warning, "");  // who resumes has read it
  config_.training.max_epochs = 3;
  EXPECT_EQ(text().warning, "");
  EXPECT_THAT(text().lines, ElementsAre(HasSubstr("of which training.max_epochs lets it do 3")));
}

TEST_F(TextOfRunTest, AMixtureHasALineForEachPlace) {
  config_.data.source = {};
  config_.data.mixture = {"3 " + place("a.txt"), "1 " + place("b.txt")};
  EXPECT_THAT(text().lines,
              ElementsAre(AllOf(HasSubstr("a.txt: 500 B, about 300"), HasSubstr("reads 450: 1.5 passes")),
                          AllOf(HasSubstr("b.txt: 500 B"), HasSubstr("reads 150: 50 % of one pass"))));
}

TEST_F(TextOfRunTest, FilesThatAreNotThereAreNamed) {
  EXPECT_EQ(test::user_error_of([&] { expect_named_files(config_); }), "");
  config_.training.tasks = {"hellaswag=" + place("none.jsonl")};
  EXPECT_THAT(test::user_error_of([&] { expect_named_files(config_); }),
              AllOf(HasSubstr("training.tasks: "), HasSubstr("none.jsonl")));
  config_.data.validation_source = {"hf://datasets/a/b", place("none.txt")};
  EXPECT_THAT(test::user_error_of([&] { expect_named_files(config_); }),
              HasSubstr("data.validation_source: "));
  config_.training.eval_every = 0;
  EXPECT_THAT(test::user_error_of([&] { expect_named_files(config_); }), Not(HasSubstr("validation_source")));
}

// Of two settings for one thing the later layer's counts.
TEST(LayerTest, TheFirstEndsTheSecondOfAnEarlierLayer) {
  TrainingConfig training;
  training.max_tokens = 1000;
  {
    const Layer layer(training);
    training.max_steps = 7;
    layer.settle();
  }
  EXPECT_EQ(training.max_steps, 7);
  EXPECT_EQ(training.max_tokens, 0);
  {
    const Layer layer(training);
    training.max_tokens = 5;
    layer.settle();
  }
  EXPECT_EQ(training.max_steps, 7);
  EXPECT_EQ(training.max_tokens, 5);
  EXPECT_EQ(training.warmup_steps, TrainingConfig().warmup_steps);
}

}  // namespace
}  // namespace moe::train
