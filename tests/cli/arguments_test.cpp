// SPDX-License-Identifier: MIT
// The command line as people type it: settings wherever they stand, several files of settings, paths as a
// shell completes them, other programs' words, and files that another system wrote.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "support/cli.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Arguments : public Cli {
 protected:
  // A run that cost no training: its initial weights.
  void make_run() {
    const CommandResult made = train("data.source=text.txt training.max_steps=0 training.warmup_steps=0");
    ASSERT_EQ(made.code, 0) << made.output;
  }
  std::string setting(const std::string& run, const std::string& line) const {
    const std::string config = read_file(folder_ / run / "config.yaml");
    const size_t at = config.find("  " + line + ":");
    return at == std::string::npos ? "" : config.substr(at, config.find('\n', at) - at);
  }
};

TEST_F(Arguments, ASettingIsOneWhereverItStands) {
  make_run();
  put("lines.txt", "one two three\nfour five six\nseven eight nine\n");
  const auto tokens = [&](const std::string& words) {
    const CommandResult result = moe(words, "2>/dev/null");
    EXPECT_EQ(result.code, 0) << words << result.output;
    return nlohmann::json::parse(result.output, nullptr, false).value("tokens", 0);
  };
  const int of_lines = tokens("eval runs/run --json --source lines.txt");  // as the run split its text
  for (const char* words : {"eval runs/run --source lines.txt data.document_split=file --json",
                            "eval data.document_split=file runs/run --source lines.txt --json",
                            "eval --json --source lines.txt data.document_split=file -- runs/run",
                            "eval --set data.document_split=file runs/run --json --source lines.txt"})
    EXPECT_EQ(tokens(words), of_lines - 2) << words;  // one document's end in place of three
  EXPECT_EQ(moe("data inspect lines.txt data.document_split=line --json").code, 0);
  EXPECT_EQ(moe("tokenize --output tokens --source lines.txt data.document_split=line").code, 0);
  complains(moe("eval runs/run --source lines.txt data.document_splt=line"),
            HasSubstr("data.document_split"));
  complains(moe("report runs/run training.max_steps=3"), HasSubstr("training.max_steps=3"));
  // The value of an option stays one, whatever it looks like.
  const CommandResult written =
      moe("generate runs/run --quiet --max-new-tokens 1 --prompt model.x=3", "2>/dev/null");
  EXPECT_THAT(written.output, ::testing::StartsWith("model.x=3"));
}

TEST_F(Arguments, ALaterFileOfSettingsReplacesWhatItNames) {
  put("smaller.yaml",
      "model: {d_model: 16}\ntraining: {max_steps: 0, warmup_steps: 0}\ndata: {source: text.txt, "
      "document_split: line}\n");
  const CommandResult made = moe("train --config config.yaml --config smaller.yaml training.run_name=run");
  ASSERT_EQ(made.code, 0) << made.output;
  EXPECT_THAT(setting("runs/run", "d_model"), HasSubstr(" 16 "));
  EXPECT_THAT(setting("runs/run", "n_heads"), HasSubstr(" 4 "));
  put("bad.yaml", "model: {width: 3}\n");
  complains(moe("plan --config config.yaml --config bad.yaml"), HasSubstr("bad.yaml:1"));
}

TEST_F(Arguments, PathsAsShellsCompleteThem) {
  make_run();
  for (const char* path :
       {"runs/run/", "runs/", "./runs/run/.", "runs/run/checkpoints", "runs/run/checkpoints/",
        "runs/run/checkpoints/latest", "runs/run/checkpoints/step-00000000/", "runs/run/config.yaml",
        "runs/run/checkpoints/step-00000000/model.safetensors"}) {
    const CommandResult result = moe(std::string("generate --quiet --max-new-tokens 1 ") + path);
    EXPECT_EQ(result.code, 0) << path << result.output;
  }
  EXPECT_EQ(moe("train --resume runs/run/ training.max_steps=1 training.warmup_steps=0").code, 0);
  complains(moe("generate runs/run/checkpoints/step-00000007/"), HasSubstr("step-00000007"));
}

TEST_F(Arguments, WhatOtherProgramsCallItIsNamed) {
  for (const auto& [words, hint] : std::initializer_list<std::pair<const char*, const char*>>{
           {"training.gradient_checkpointing=true", "training.recompute"},
           {"gradient_checkpointing=true", "training.recompute"},
           {"data.dataset=x", "data.source"},
           {"training.device=cuda", "did you mean gpu?"},
           {"training.mixed_precision=bfloat16", "did you mean bf16?"},
           {"model.dropout=0.1", "there is no dropout"},
           {"model.hidden_size=64", "model.d_model"},
           {"training.lr=1", "training.learning_rate"},
           {"model.d_modle=64", "model.d_model"}})
    refused(train(std::string("data.source=text.txt ") + words), HasSubstr(hint));
  put("other.yaml", "dataset: text.txt\n");
  refused(moe("train --config other.yaml"), AllOf(HasSubstr("other.yaml:1:1"), HasSubstr("data.source")));
}

TEST_F(Arguments, AWordThatIsNoCommandGetsOneThatIs) {
  complains(moe("trian"), HasSubstr("did you mean `moe train`?"));
  complains(moe("evaluate runs/run"), HasSubstr("did you mean `moe eval`?"));
  complains(moe("data inspekt x"), HasSubstr("did you mean `data inspect`?"));
  complains(moe("train config.yaml"), HasSubstr("--config config.yaml"));
  make_run();
  complains(moe("eval runs/run text.txt"), HasSubstr("--source text.txt"));
  EXPECT_EQ(moe("version").output, moe("--version").output);
  EXPECT_EQ(moe("help").output, moe("--help").output);
  EXPECT_EQ(moe("help train").output, moe("train --help").output);
  EXPECT_EQ(moe("help").code, 0);
}

TEST_F(Arguments, WhatCannotBeSeenIsNamed) {
  put("tab.yaml", "model:\n\td_model: 32\n");
  complains(moe("plan --config tab.yaml"), AllOf(HasSubstr("tab.yaml:2"), HasSubstr("has a tab")));
  put("bom.yaml", "\xef\xbb\xbfmodel:\r\n  d_model: 32\r\n");
  EXPECT_EQ(moe("plan --config config.yaml --config bom.yaml").code, 0);
  complains(moe("--config config.yaml train"), HasSubstr("options come after the command"));
}

// A result that did not get out is no result.
TEST_F(Arguments, AFullDiskUnderTheOutputIsAnError) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  make_run();
  for (const char* words :
       {"plan --config config.yaml", "plan --settings", "--help", "data inspect text.txt",
        "generate runs/run --quiet --max-new-tokens 1", "eval runs/run --json --max-batches 1"})
    complains(moe(words, "2>&1 >/dev/full"), HasSubstr("standard output"));
}

// To plan is not to train: what does not fit is the answer, not an error.
TEST_F(Arguments, APlanHasAVerdict) {
  const CommandResult small = moe("plan --config config.yaml");
  EXPECT_EQ(small.code, 0) << small.output;
  EXPECT_THAT(small.output, HasSubstr("verdict        fits on this machine"));
  const CommandResult large =
      moe("plan --config config.yaml model.d_model=65536 model.n_layers=1024 model.n_heads=256");
  EXPECT_EQ(large.code, 0) << large.output;
  EXPECT_THAT(large.output, AllOf(HasSubstr("verdict        does not fit on this machine"),
                                  HasSubstr("training.recompute")));
  const CommandResult elsewhere = moe("plan --config config.yaml training.device=gpu");
  EXPECT_EQ(elsewhere.code, 0) << elsewhere.output;
}

TEST_F(Arguments, APlanForAGpuByNameOrByRates) {
  for (const char* gpu : {"H100", "'RTX 4090'", "4090", "l4", "A6000", "memory=16,tflops=97,bandwidth=716"}) {
    const CommandResult plan =
        moe(std::string("plan --config config.yaml training.mixed_precision=bf16 --gpu ") + gpu);
    EXPECT_EQ(plan.code, 0) << gpu << plan.output;
    EXPECT_THAT(plan.output, AllOf(HasSubstr("predicted for"), HasSubstr("verdict        fits"))) << gpu;
  }
  complains(moe("plan --config config.yaml --gpu abacus"),
            AllOf(HasSubstr("rtx4090"), HasSubstr("memory=24")));
  complains(moe("plan --config config.yaml --gpu memory=16,tflops=x,bandwidth=1"), HasSubstr("tflops=x"));
  complains(moe("plan --config config.yaml --gpu memory=16,tflops=97"), HasSubstr("bandwidth"));
  // By its memory alone: what fits, and no time.
  const CommandResult memory =
      moe("plan --config config.yaml training.mixed_precision=bf16 --gpu memory=7.5");
  EXPECT_THAT(memory.output, AllOf(HasSubstr("verdict        fits on GPU of 7.5 GiB"),
                                   HasSubstr("of 1 rank; times"), Not(HasSubstr("tokens/s"))));
}

// A byte order mark, CR LF and blanks are of the file, not of the prompt.
TEST_F(Arguments, APromptsFileOfAnotherSystem) {
  make_run();
  put("unix.txt", "The lamp\ngreen\n");
  put("windows.txt", "\xef\xbb\xbfThe lamp\r\n\r\n  green  \r\n");
  const std::string generate = "generate runs/run --json --quiet --max-new-tokens 2 --prompts ";
  const CommandResult here = moe(generate + "unix.txt", "2>/dev/null");
  ASSERT_EQ(here.code, 0);
  EXPECT_EQ(here.output, moe(generate + "windows.txt", "2>/dev/null").output);
}

// What the parser itself refuses.
TEST_F(Arguments, AMistakeIsToldWithACommandThatWorks) {
  complains(moe("report"), AllOf(HasSubstr("error: moe report: expected RUN (Folders of runs"),
                                 HasSubstr("found none. Hint: for example `moe report runs/latest`"),
                                 HasSubstr("`moe report --help` tells all")));
  complains(moe("report runs/run more.html --smooth"), HasSubstr("moe report: expected --smooth SHARE"));
  complains(moe("report runs/run --smooth 2"),
            HasSubstr("moe report: --smooth SHARE: expected a number, 0 to 0.98, found \"2\""));
  complains(moe("compare a.yaml b.yaml --seeds three"), HasSubstr("--seeds"));
  complains(moe("compare a.yaml b.yaml --steps 3 --budget 2m"),
            AllOf(HasSubstr("--budget or --steps"), HasSubstr("found both")));
  complains(moe("completion tcsh"),
            HasSubstr("moe completion: shell: expected one of bash, zsh, fish, found \"tcsh\""));
  complains(moe("plan --config config.yaml --tokens 3"), HasSubstr("expected --recipe beside --tokens"));
  complains(moe("watch runs/run another"), AllOf(HasSubstr("moe watch"), HasSubstr("\"another\"")));
  complains(moe("data"),
            AllOf(HasSubstr("moe data: expected a command (inspect"), HasSubstr("`moe data --help`")));
  complains(moe(""), AllOf(HasSubstr("moe: expected a command (train, "), HasSubstr("`moe --help`")));
  complains(moe("eval"), HasSubstr("moe eval: expected RUN"));
  EXPECT_EQ(moe("report --help").code, 0);
}

// One pair of names for where a command writes.
TEST_F(Arguments, OutputIsNamedAlikeEverywhere) {
  for (const char* command : {"compare", "completion", "eval", "export", "import", "merge", "report",
                              "tokenize", "tokenizer train", "upcycle"})
    EXPECT_THAT(moe(std::string(command) + " --help").output, HasSubstr("-o,--output")) << command;
  make_run();
  EXPECT_EQ(moe("export runs/run -o out").code, 0);
  EXPECT_TRUE(fs::exists(folder_ / "out/model.safetensors"));
}

// A wrong place is told before anything is made, and before the tables that would push it off the screen.
TEST_F(Arguments, FilesThatAreNotThereAreTheFirstThingTold) {
  const auto first = [&](const std::string& settings, const std::string& where) {
    const CommandResult told = train("data.source=text.txt " + settings);
    EXPECT_THAT(told.output, ::testing::StartsWith("error: " + where)) << settings;
    EXPECT_EQ(told.code, 1);
  };
  first("data.source=nowhere", "data.source: ");
  first("data.source=[text.txt,nowhere]", "data.source: ");
  first("data.source=[] data.mixture=[\"1 text.txt\",\"2 nowhere\"]", "data.mixture: ");
  first("data.validation_source=nowhere", "data.validation_source: ");
  first("training.tasks=hellaswag=nowhere", "training.tasks: ");
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
  put("empty.txt", "");
  const CommandResult empty = train("data.source=empty.txt");
  EXPECT_EQ(empty.code, 1);
  EXPECT_THAT(empty.output, ::testing::Not(HasSubstr("memory  ")));
}

TEST_F(Arguments, ARunSaysHowMuchTextItHas) {
  const CommandResult made = train("data.source=text.txt");
  EXPECT_THAT(made.output,
              AllOf(::testing::ContainsRegex("text      .* in 1 file, about .* tokens; the run reads 192"),
                    ::testing::Not(HasSubstr("by heart")), HasSubstr("  total  ")));
  const CommandResult more = moe("train --resume runs/run training.max_steps=5");
  EXPECT_THAT(more.output, AllOf(HasSubstr("still to read: 128"), HasSubstr("memory    "),
                                 ::testing::Not(HasSubstr("  total  "))));
  put("short.txt", "Little.\nText.\nIs here.\nFor all.\n");
  EXPECT_THAT(
      train("data.source=short.txt training.run_name=other data.validation_fraction=0 training.eval_every=0 "
            "training.max_steps=20")
          .output,
      AllOf(HasSubstr("warning: the run reads its text "), HasSubstr("training.max_epochs=16")));
}

}  // namespace
}  // namespace moe
