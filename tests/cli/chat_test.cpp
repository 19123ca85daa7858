// SPDX-License-Identifier: MIT
// Conversations with the program: typed in, from a file, and out to other programs and back. How it looks in
// a terminal is in chat_in_terminal_test.py, what transformers answers in tools/check_chat.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
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

class Chat : public Cli {
 protected:
  void SetUp() override {
    Cli::SetUp();
    ASSERT_EQ(train("data.source=text.txt training.max_steps=0 training.warmup_steps=0 model.max_seq_len=128 "
                    "model.attention_gate=false model.tie_embeddings=false model.init_std=0.5")
                  .code,
              0);
  }
  // With these lines as standard input. errors: where standard error goes.
  CommandResult chat(const std::string& run, const std::string& lines, const std::string& extra = "",
                     const std::string& errors = "2>/dev/null") const {
    write_file_atomically(folder_ / "lines.txt", lines);
    return moe("chat " + run + " --temperature 0 --max-new-tokens 12 " + extra, errors + " < lines.txt #");
  }
  std::vector<json> lines_of(const std::string& text) const {
    std::vector<json> all;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) all.push_back(json::parse(line));
    return all;
  }
  std::vector<json> messages(const std::string& run, const std::string& file, const std::string& extra = "",
                             double temperature = 0) {
    const CommandResult result = moe("generate " + run + " --temperature " + std::to_string(temperature) +
                                         " --max-new-tokens 12 --messages " + file + " " + extra,
                                     "2>/dev/null");
    EXPECT_EQ(result.code, 0);
    return lines_of(result.output);
  }
};

// What was answered with a cache from turn to turn is what each conversation is answered alone.
TEST_F(Chat, AnswersAreThoseOfTheWholeConversation) {
  const CommandResult talked = chat("runs/run",
                                    "What is a lamp?\n/save one.jsonl\n/system Be brief.\nAnd a lantern?\n"
                                    "/save two.jsonl\nWhy?\r\n/save three.jsonl\n/exit\nnever\n");
  ASSERT_EQ(talked.code, 0) << talked.output;
  std::string all;
  for (const char* name : {"one.jsonl", "two.jsonl", "three.jsonl"}) all += read_file(folder_ / name);
  put("all.jsonl", all);
  const std::vector<json> answers = messages("runs/run", "all.jsonl", "--batch 2");
  ASSERT_EQ(answers.size(), 3U);
  std::string shown;
  for (size_t i = 0; i < answers.size(); ++i) {
    const json& one = answers[i];
    EXPECT_EQ(one.at("reference"), one.at("messages").back().at("content")) << i;
    EXPECT_EQ(one.at("messages").size(), 2 * (i + 1) + (i > 0)) << i;
    EXPECT_EQ(one.at("ids").size(), 12U);
    EXPECT_EQ(one.at("finish"), "length");
    shown += one.at("reference").get<std::string>() + "\n";
  }
  EXPECT_EQ(talked.output, shown);
  EXPECT_NE(answers[0].at("ids"), answers[2].at("ids"));  // else the comparison says little
  EXPECT_THAT(answers[2].at("messages").dump(), Not(HasSubstr("\\r")));
}

TEST_F(Chat, WhatFailedIsToldAndCounts) {
  std::string longer;
  for (int i = 0; i < 200; ++i) longer += " word";
  const CommandResult talked = chat("runs/run", "/nope\n" + longer + "\nHello\n", "", "2>&1");
  EXPECT_EQ(talked.code, 1);
  EXPECT_THAT(talked.output, AllOf(HasSubstr("/nope is no command"), HasSubstr("fewer than 128 tokens"),
                                   HasSubstr("not taught to answer"), HasSubstr("cut after 12 tokens")));
  complains(chat("runs/run", "Hello\n", "data.chat_template=nowhere.jinja", "2>&1"),
            HasSubstr("nowhere.jinja"));
  complains(chat("runs/run", "Hello\n", "--temperature -1", "2>&1"), HasSubstr("--temperature"));
  complains(chat("runs/none", "Hello\n", "", "2>&1"), HasSubstr("runs/none"));
  complains(chat("runs/run", "Hello\n", "--template-variable x", "2>&1"), HasSubstr("NAME=VALUE"));
}

// Nothing is written before all lines are known to be good.
TEST_F(Chat, BadLinesAreToldByTheirNumbers) {
  put("bad.jsonl", R"({"messages": [{"role": "user", "content": "Hello"}]})"
                   "\n\nno json\n"
                   R"({"messages": [{"role": "assistant", "content": "alone"}]})"
                   "\n"
                   R"({"messages": []})"
                   "\n"
                   R"({"messages": [{"content": "whose?"}]})"
                   "\n");
  const CommandResult result = moe("generate runs/run --messages bad.jsonl");
  complains(result, AllOf(HasSubstr("bad.jsonl:3"), HasSubstr("bad.jsonl:4"), HasSubstr("bad.jsonl:5"),
                          HasSubstr("bad.jsonl:6"), HasSubstr("4 bad ones")));
  EXPECT_THAT(result.output, Not(HasSubstr("prompt_ids")));
  put("empty.jsonl", "\n");
  complains(moe("generate runs/run --messages empty.jsonl"), HasSubstr("conversations"));
  complains(moe("generate runs/run --messages none.jsonl"), HasSubstr("none.jsonl"));
  EXPECT_NE(moe("generate runs/run --messages bad.jsonl --prompt x").code, 0);
}

TEST_F(Chat, SamplesAndVariablesReachTheTemplate) {
  put("name.jinja", "{% for m in messages %}{{ m.content }} {{ name }} {{ deep.x }}{% endfor %}");
  put("one.jsonl", R"({"messages": [{"role": "user", "content": "Hello"}]})"
                   "\n");
  const std::vector<json> answers =
      messages("runs/run", "one.jsonl",
               "data.chat_template=name.jinja --samples 2 --template-variable name=lamp "
               "--template-variable 'deep={\"x\": 7}'",
               1);
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_NE(answers[0].at("ids"), answers[1].at("ids"));
  EXPECT_EQ(answers[1].at("seed"), answers[0].at("seed").get<int>() + 1);
  put("same.jsonl", R"({"messages": [{"role": "user", "content": "Hello lamp 7"}]})"
                    "\n");
  put("plain.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}");
  EXPECT_EQ(messages("runs/run", "same.jsonl", "data.chat_template=plain.jinja").front().at("prompt_ids"),
            answers[0].at("prompt_ids"));
}

// Out with all that other programs need to talk with it, and back as it was.
TEST_F(Chat, TheTemplateGoesOutAndComesBack) {
  const CommandResult exported =
      moe("export runs/run out --family qwen3_moe --verify data.chat_template=chatml");
  ASSERT_EQ(exported.code, 0) << exported.output;
  const auto parsed = [&](const char* name) { return json::parse(read_file(folder_ / "out" / name)); };
  EXPECT_THAT(read_file(folder_ / "out/chat_template.jinja"), HasSubstr("<|im_start|>"));
  const json generation = parsed("generation_config.json"), config = parsed("tokenizer_config.json");
  EXPECT_EQ(generation.at("eos_token_id"), (std::vector<int>{50258, 50256}));
  EXPECT_EQ(generation.at("suppress_tokens").front(), 50259);
  EXPECT_EQ(config.at("eos_token"), "<|endoftext|>");
  EXPECT_EQ(config.at("added_tokens_decoder").at("50258").at("content"), "<|im_end|>");
  const json added = parsed("tokenizer.json").at("added_tokens");
  ASSERT_EQ(added.size(), 3U);
  EXPECT_EQ(added[1].at("id"), 50257);
  EXPECT_EQ(added[1].at("content"), "<|im_start|>");
  EXPECT_THAT(read_file(folder_ / "out/README.md"),
              AllOf(HasSubstr("pipeline("), Not(HasSubstr("base model"))));

  const CommandResult imported = moe("import out --output runs/again --verify");
  ASSERT_EQ(imported.code, 0) << imported.output;
  EXPECT_THAT(imported.output, AllOf(HasSubstr("moe chat runs/again"), Not(HasSubstr("warning"))));
  EXPECT_THAT(read_file(folder_ / "runs/again/config.yaml"), HasSubstr("tokenizer: gpt2"));
  const std::string lines = "What is a lamp?\nAnd a lantern?\n";
  const CommandResult before = chat("runs/run", lines, "data.chat_template=chatml"),
                      after = chat("runs/again", lines);
  EXPECT_EQ(before.code, 0);
  EXPECT_EQ(before.output, after.output);
  EXPECT_THAT(chat("runs/again", lines, "", "2>&1").output, Not(HasSubstr("not taught")));
  ASSERT_EQ(moe("export runs/again twice").code, 0);
  for (const auto& entry : fs::directory_iterator(folder_ / "out"))
    if (entry.path().filename() != "README.md" && entry.path().filename() != "moe_state.json") {
      EXPECT_EQ(read_file(entry.path()), read_file(folder_ / "twice" / entry.path().filename()))
          << entry.path();
    }
  // A base model goes out as one.
  ASSERT_EQ(moe("export runs/run base --family qwen3_moe").code, 0);
  EXPECT_FALSE(fs::exists(folder_ / "base/chat_template.jinja"));
  EXPECT_EQ(json::parse(read_file(folder_ / "base/generation_config.json")).at("eos_token_id"), 50256);
}

// A tokenizer that was learnt here gets the template's tokens on its way out, and is without them when it is
// back: its run goes on.
TEST_F(Chat, ATokenizerOfItsOwnComesBackToo) {
  ASSERT_EQ(moe("tokenizer train text.txt --vocab 300 -o mine").code, 0);
  ASSERT_EQ(
      moe("train --config config.yaml data.document_split=line training.run_name=own data.source=text.txt "
          "data.tokenizer=mine model.vocab_size=384 training.max_steps=1 training.warmup_steps=0")
          .code,
      0);
  ASSERT_EQ(moe("export runs/own out data.chat_template=chatml").code, 0);
  const CommandResult imported = moe("import out --output runs/back");
  ASSERT_EQ(imported.code, 0) << imported.output;
  const auto fingerprint = [&](const std::string& run) {
    return json::parse(read_file(folder_ / run / "tokenizer/moe_tokenizer.json")).at("fingerprint");
  };
  EXPECT_EQ(fingerprint("runs/back"), fingerprint("runs/own"));
  EXPECT_EQ(chat("runs/own", "Hello\n", "data.chat_template=chatml --context 100").output,
            chat("runs/back", "Hello\n", "--context 100").output);
  EXPECT_EQ(moe("train --resume runs/back training.max_steps=2").code, 0);
  complains(
      moe("train --config config.yaml data.document_split=line training.run_name=tight data.source=text.txt "
          "data.tokenizer=mine model.vocab_size=300 training.max_steps=0 training.warmup_steps=0 && "
          "'" MOE_PROGRAM "' chat runs/tight data.chat_template=chatml"),
      AllOf(HasSubstr("model.vocab_size"), HasSubstr("<|im_end|>")));
}

// A model of others: its template, its ends of an answer, its way of sampling.
TEST_F(Chat, AnImportedModelTalksAsItsFilesSay) {
  ASSERT_EQ(moe("export runs/run out --family qwen3_moe --without-run").code, 0);
  const std::string source = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]";
  put("out/chat_template.jinja", source);
  put("out/generation_config.json",
      R"({"do_sample": true, "temperature": 0.3, "top_k": 5, "eos_token_id": [50256, 198]})");
  const CommandResult imported = moe("import out --output runs/theirs");
  ASSERT_EQ(imported.code, 0) << imported.output;
  EXPECT_THAT(imported.output, HasSubstr("moe chat runs/theirs"));
  put("q.jsonl", R"({"messages": [{"role": "user", "content": "Hello"}]})"
                 "\n");
  const json answer = messages("runs/theirs", "q.jsonl").front();
  const CommandResult plain = moe(
      "generate runs/theirs --max-new-tokens 1 --json --prompt '[user] Hello\n[assistant]'", "2>/dev/null");
  auto ids = lines_of(plain.output).front().at("prompt_ids").get<std::vector<int>>();
  ids.erase(ids.begin());  // the end of text, which this template does not write
  EXPECT_EQ(answer.at("prompt_ids"), ids);
  const CommandResult said = moe("chat runs/theirs --top-k 7", "2>&1 < /dev/null #");
  EXPECT_EQ(said.code, 0);
  EXPECT_THAT(said.output, AllOf(HasSubstr("temperature 0.3"), Not(HasSubstr("top-k 5"))));
  // What nothing has changed goes out byte for byte; another template brings its own ends.
  ASSERT_EQ(moe("export runs/theirs back").code, 0);
  for (const char* name :
       {"chat_template.jinja", "generation_config.json", "tokenizer_config.json", "tokenizer.json"})
    EXPECT_EQ(read_file(folder_ / "back" / name), read_file(folder_ / "out" / name)) << name;
  EXPECT_FALSE(fs::exists(folder_ / "back/moe_chat.json"));

  put("out/chat_template.jinja", "{% if %}");
  const CommandResult broken = moe("import out --output runs/broken");
  EXPECT_EQ(broken.code, 0);
  EXPECT_THAT(broken.output, AllOf(HasSubstr("cannot be used here"), HasSubstr("chat_template.jinja")));
}

}  // namespace
}  // namespace moe
