// SPDX-License-Identifier: MIT
// A run with a tokenizer of its own, as a person meets it: trained, stopped, gone on with when the original
// file is gone, written with, exported, imported, merged; token files of wide ids; one that is learnt here;
// and every refusal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "support/cli.h"
#include "text/texts.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

// 709 ids; with this end of a text, 70,001.
constexpr const char* kOld = " data.tokenizer=old model.vocab_size=768 ";
constexpr const char* kWide = " 'data.tokenizer=ranks.tiktoken#o200k#70000' model.vocab_size=70016 ";

class TokenizerOfARun : public Cli {
 protected:
  void SetUp() override {
    Cli::SetUp();
    fs::create_directories(folder_ / "old");
    put("old/tokenizer.json", test::golden_text("old.json"));
    put("ranks.tiktoken", test::golden_text("ranks.tiktoken"));
  }

  CommandResult train_as(const std::string& name, const std::string& more) const {
    return moe(
        "train --config config.yaml data.source=text.txt data.document_split=line "
        "training.lr_schedule=constant training.checkpoint_every=1 training.keep_checkpoints=9 "
        "training.run_name=" +
        name + " " + more);
  }
  void good(const CommandResult& result) const { ASSERT_EQ(result.code, 0) << result.output; }
  std::string weights(const std::string& run, int step) const {
    return read_file(folder_ / "runs" / run / "checkpoints" / ("step-0000000" + std::to_string(step)) /
                     "model.safetensors");
  }
  json writes(const std::string& run) const {
    const CommandResult result = moe(
        "generate " + run + " --prompt 'The lamp' --json --temperature 0 --max-new-tokens 6 --quiet", "2>&1");
    EXPECT_EQ(result.code, 0) << result.output;
    return json::parse(result.output, nullptr, false);
  }
};

TEST_F(TokenizerOfARun, GoesOnBitForBitWhenTheOriginalIsGone) {
  const CommandResult whole = train_as("whole", std::string(kOld) + "training.max_steps=4");
  good(whole);
  EXPECT_THAT(whole.output, HasSubstr("tokenizer old, 709 ids, <|endoftext|> (700) between documents"));
  good(train_as("run", std::string(kOld) + "training.max_steps=2"));
  fs::remove_all(folder_ / "old");
  fs::rename(folder_ / "runs", folder_ / "moved");
  fs::create_directory_symlink(folder_ / "moved", folder_ / "runs");
  EXPECT_EQ(read_file(folder_ / "runs/run/tokenizer/tokenizer.json"), test::golden_text("old.json"));
  const CommandResult resumed = moe("train --resume runs/run training.max_steps=4");
  good(resumed);
  EXPECT_THAT(resumed.output, HasSubstr("tokenizer old, 709 ids"));
  EXPECT_EQ(weights("run", 4), weights("whole", 4));
  EXPECT_NE(weights("run", 4), weights("run", 3));

  const json text = writes("runs/run");
  EXPECT_EQ(text["prompt_ids"][0], 700);
  for (const json& id : text["ids"]) EXPECT_LT(id.get<int>(), 709);
  EXPECT_EQ(writes("runs/run/checkpoints/step-00000004")["ids"], text["ids"]);
  good(moe("eval runs/run --source text.txt"));
  good(moe("train --resume runs/run training.max_steps=5"));
}

TEST_F(TokenizerOfARun, IsExportedAndImportedAsItIs) {
  good(train_as("run", kOld));
  fs::remove_all(folder_ / "old");
  good(moe("export runs/run out --verify"));
  EXPECT_EQ(read_file(folder_ / "out/tokenizer.json"), test::golden_text("old.json"));
  EXPECT_FALSE(fs::exists(folder_ / "out/vocab.json"));
  const json config = json::parse(read_file(folder_ / "out/tokenizer_config.json"));
  EXPECT_EQ(config["eos_token"], "<|endoftext|>");
  EXPECT_EQ(config["pad_token"], "<|padding|>");
  EXPECT_EQ(config["model_max_length"], 32);
  EXPECT_EQ(json::parse(read_file(folder_ / "out/config.json"))["eos_token_id"], 700);

  const json text = writes("runs/run");
  good(moe("import out --output runs/again"));
  good(moe("export runs/run bare --without-run"));
  good(moe("import bare --output runs/bare"));
  fs::remove_all(folder_ / "out");
  fs::remove_all(folder_ / "bare");
  for (const char* run : {"runs/again", "runs/bare"}) EXPECT_EQ(writes(run)["ids"], text["ids"]) << run;
  good(moe("train --resume runs/again training.max_steps=4"));
  good(moe("export runs/again twice"));
  EXPECT_EQ(read_file(folder_ / "twice/tokenizer.json"), test::golden_text("old.json"));

  good(moe("merge runs/run/checkpoints/step-00000002 runs/again -o runs/mean"));
  EXPECT_EQ(writes("runs/mean")["prompt_ids"], text["prompt_ids"]);
}

TEST_F(TokenizerOfARun, AnImportOfAnotherTokenizerCanBeToldWhereItIs) {
  good(train_as("run", kOld));
  good(moe("export runs/run out --without-run"));
  fs::remove(folder_ / "out/tokenizer.json");
  put("out/vocab.json", "{\"a\": 0}");
  complains(moe("import out --output runs/again"),
            AllOf(HasSubstr("vocab.json: expected the 50257 tokens of GPT-2"),
                  HasSubstr("data.tokenizer=PATH names one")));
  fs::remove(folder_ / "out/vocab.json");
  good(moe("import out --output runs/again data.tokenizer=old"));
  EXPECT_EQ(writes("runs/again")["ids"], writes("runs/run")["ids"]);
  put("out/tokenizer.json", "{\"model\": {\"type\": \"Unigram\"}}");
  complains(moe("import out --output runs/more"),
            AllOf(HasSubstr("data.tokenizer: "), HasSubstr("expected BPE, found \"Unigram\"")));
}

TEST_F(TokenizerOfARun, IdsAbove65535GoAllTheWay) {
  const std::string tokenize = "tokenize --source text.txt --output tokens data.document_split=line ";
  const CommandResult made = moe(tokenize + "'data.tokenizer=ranks.tiktoken#o200k#70000'");
  good(made);
  EXPECT_THAT(made.output, HasSubstr("tokenizer ranks.tiktoken, 70001 ids, <|endoftext|> (70000)"));
  const std::string tokens = read_file(folder_ / "tokens/tokens_train_000001.bin");
  EXPECT_EQ(tokens.substr(0, 8), std::string("\xA1\xD9\x34\x01\x07\x00\x00\x00", 8));
  EXPECT_EQ(tokens.substr(1024, 4), std::string("\x70\x11\x01\x00", 4)) << "70000";

  const std::string from_files =
      "data.source=tokens/tokens_train_*.bin data.validation_source=tokens/tokens_val_*.bin ";
  good(train_as("wide", kWide + from_files));
  fs::remove(folder_ / "ranks.tiktoken");
  good(moe("train --resume runs/wide training.max_steps=4"));
  good(moe("eval runs/wide"));
  const json text = writes("runs/wide");
  EXPECT_EQ(text["prompt_ids"][0], 70000);
  good(moe("export runs/wide out --verify"));
  good(moe("import out --output runs/again"));
  EXPECT_EQ(writes("runs/again")["ids"], text["ids"]);
  EXPECT_EQ(json::parse(read_file(folder_ / "runs/again/tokenizer/moe_tokenizer.json"))["fingerprint"],
            json::parse(read_file(folder_ / "runs/wide/tokenizer/moe_tokenizer.json"))["fingerprint"]);

  // Other tokenizers refuse these files, and the shards that go on.
  refused(train("data.source=tokens/tokens_train_*.bin"),
          HasSubstr("expected ids of data.tokenizer, GPT-2 (fingerprint b5daa9c4c3d6b2c2)"));
  complains(moe(tokenize), HasSubstr("_state.json"));
  complains(moe(tokenize + "data.tokenizer=old"), HasSubstr("_state.json"));
  good(moe("tokenize --source text.txt --output gpt2 data.document_split=line"));
  refused(train(std::string(kOld) + "data.source=gpt2/tokens_train_*.bin"),
          HasSubstr("found those of GPT-2. Hint: set data.tokenizer to the one that made them"));
}

TEST_F(TokenizerOfARun, RefusesAVocabularyThatDoesNotFit) {
  refused(
      train("data.source=text.txt data.tokenizer=old model.vocab_size=700"),
      HasSubstr("model.vocab_size: expected at least 709, the old vocabulary, found 700. Hint: 768 is the "
                "next multiple of 128"));
  refused(
      train("data.source=text.txt data.tokenizer=nowhere"),
      AllOf(HasSubstr("data.tokenizer: expected gpt2, gpt2:N, a tokenizer.json"), HasSubstr("nowhere\"")));
  refused(train("data.source=text.txt data.tokenizer=ranks.tiktoken"), HasSubstr("PATH#PATTERN, of gpt2"));
  refused(train("data.source=text.txt tokenizer_path=old"), HasSubstr("data.tokenizer"));
}

TEST_F(TokenizerOfARun, AnotherOneIsRefusedWhereverTheRunIsUsed) {
  good(train_as("run", kOld));
  good(train_as("gpt2", ""));
  EXPECT_FALSE(fs::exists(folder_ / "runs/gpt2/tokenizer"));
  EXPECT_THAT(read_file(folder_ / "runs/gpt2/config.yaml"), HasSubstr("tokenizer: gpt2"));
  const auto another = AllOf(HasSubstr("data.tokenizer: expected the tokenizer of the run, old, found GPT-2"),
                             HasSubstr("leave the setting out"));
  for (const char* command : {"train --resume runs/run training.max_steps=4", "generate runs/run",
                              "eval runs/run --source text.txt", "export runs/run out"})
    complains(moe(std::string(command) + " data.tokenizer=gpt2"), another);
  complains(moe("train --resume runs/gpt2 training.max_steps=4 data.tokenizer=old"),
            HasSubstr("the tokenizer of the run, GPT-2, found old"));
  complains(moe("merge runs/run runs/gpt2 -o runs/mean"), HasSubstr("the tokenizer old, found GPT-2"));
  // The same one from another place is the same.
  fs::rename(folder_ / "old", folder_ / "elsewhere");
  good(moe("train --resume runs/run training.max_steps=4 data.tokenizer=elsewhere"));
  fs::rename(folder_ / "elsewhere", folder_ / "old");
  good(moe("train --resume runs/run training.max_steps=5"));

  // A copy that is removed while the original is there; one that is damaged, or another run's.
  const fs::path copy = folder_ / "runs/run/tokenizer";
  fs::rename(copy, folder_ / "aside");
  fs::remove_all(folder_ / "old");
  complains(moe("generate runs/run"), HasSubstr("data.tokenizer: expected gpt2, gpt2:N, a tokenizer.json"));
  fs::create_directories(folder_ / "old");
  put("old/tokenizer.json", test::golden_text("old.json"));
  good(moe("train --resume runs/run training.max_steps=6"));
  EXPECT_EQ(read_file(copy / "tokenizer.json"), test::golden_text("old.json"));
  json changed = json::parse(read_file(copy / "tokenizer.json"));
  std::swap(changed["model"]["merges"][5], changed["model"]["merges"][6]);
  const std::string own = read_file(copy / "tokenizer.json");
  put("runs/run/tokenizer/tokenizer.json", changed.dump());
  complains(moe("generate runs/run"), HasSubstr("the tokenizer of the run, fingerprint"));
  put("runs/run/tokenizer/tokenizer.json", own);
  put("old/tokenizer.json", changed.dump());
  good(train_as("other", kOld));
  fs::remove_all(copy);
  fs::copy(folder_ / "runs/other/tokenizer", copy);
  for (const char* command : {"generate runs/run", "train --resume runs/run training.max_steps=7"})
    complains(moe(command), AllOf(HasSubstr("state.json: expected data.tokenizer old (fingerprint "),
                                  HasSubstr("found old (fingerprint ")));
}

TEST_F(TokenizerOfARun, ArmsHaveOne) {
  put("a.yaml", "data: {tokenizer: old}\nmodel: {vocab_size: 768}\n");
  put("b.yaml", "model: {vocab_size: 50304}\n");
  complains(moe("compare a.yaml b.yaml --config config.yaml --steps 2 -o out data.source=text.txt "
                "data.document_split=line"),
            HasSubstr("data.tokenizer of b: expected old, as the first arm, found GPT-2"));
}

TEST_F(TokenizerOfARun, IsLearntFromText) {
  put("notes.jsonl", "{\"text\": \"the old lamp by the river, the green lamp\"}\n");
  const std::string learn = "tokenizer train text.txt notes.jsonl --vocab 400 --output ";
  const CommandResult learnt = moe(learn + "mine data.document_split=line");
  good(learnt);
  EXPECT_THAT(learnt.output, HasSubstr("train with it: data.tokenizer=mine model.vocab_size="));
  good(moe(learn + "again --threads 1 data.document_split=line"));
  EXPECT_EQ(read_file(folder_ / "mine/tokenizer.json"), read_file(folder_ / "again/tokenizer.json"));
  good(train_as("run", "data.tokenizer=mine model.vocab_size=512"));
  EXPECT_LT(writes("runs/run")["prompt_ids"].size(), 4u) << "its own words are tokens";

  complains(moe(learn + "mine"), HasSubstr("mine: expected"));
  complains(moe("tokenizer train nowhere --vocab 400 --output new"), HasSubstr("nowhere"));
  EXPECT_EQ(moe("tokenizer train text.txt --vocab 256 --output new").code, 1);
  EXPECT_EQ(moe("tokenizer train text.txt --vocab 400 --output new --pattern o20k").code, 1);
  good(moe("tokenize --source text.txt --output tokens"));
  complains(moe("tokenizer train tokens --vocab 400 --output new"),
            HasSubstr("expected text, found a token file"));
  EXPECT_FALSE(fs::exists(folder_ / "new"));
}

TEST_F(TokenizerOfARun, IsSaidByThePlan) {
  const CommandResult plan = moe("plan --config config.yaml" + std::string(kOld));
  good(plan);
  EXPECT_THAT(plan.output, HasSubstr("tokenizer      old, 709 ids, <|endoftext|> (700) between documents"));
  EXPECT_THAT(moe("plan --config config.yaml").output, HasSubstr("tokenizer      GPT-2, 50257 ids"));
}

}  // namespace
}  // namespace moe
