// SPDX-License-Identifier: MIT
// A model of others goes in and comes out as it was: settings, types of tensors, the files beside them; and
// what --verify says on both ways.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/safetensors.h"
#include "support/cli.h"
#include "tensor/host_floats.h"
#include "text/open_tokenizer.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Faithful : public Cli {
 protected:
  // A Qwen3-MoE as others write one: keys of transformers 4, types that differ from tensor to tensor.
  void SetUp() override {
    Cli::SetUp();
    ASSERT_EQ(
        train("data.source=text.txt model.attention_gate=false training.max_steps=1 training.warmup_steps=0")
            .code,
        0);
    ASSERT_EQ(moe("export runs/run out --family qwen3_moe --without-run").code, 0);
    fs::create_directories(folder_ / "theirs");
    auto config = json::parse(read_file(folder_ / "out/config.json"));
    for (const char* key : {"dtype", "rope_parameters", "decoder_sparse_step", "mlp_only_layers"})
      config.erase(key);
    config["num_local_experts"] = config["num_experts"];
    config.erase("num_experts");
    config["torch_dtype"] = "bfloat16";
    config["transformers_version"] = "4.51.0";
    config["max_window_layers"] = 3;
    config["sliding_window"] = nullptr;
    config["max_position_embeddings"] = 4096;
    put("theirs/config.json", config.dump(4));
    for (const char* name : {"vocab.json", "merges.txt"})
      fs::copy_file(folder_ / "out" / name, folder_ / "theirs" / name);
    put("theirs/generation_config.json", R"({"do_sample": true, "top_k": 20, "eos_token_id": [50256, 1]})");
    put("theirs/chat_template.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}");
    put("theirs/tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer", "model_max_length": 4096})");
    put("theirs/special_tokens_map.json", R"({"eos_token": "<|endoftext|>"})");
    write_mixed();
  }

  // Norms f16, routers f32, all others bf16.
  void write_mixed() {
    const checkpoint::Safetensors files(folder_ / "out/model.safetensors");
    std::vector<checkpoint::TensorStream> streams;
    for (const auto& entry : files.entries()) {
      const DType type = entry.name.find("norm") != std::string::npos        ? DType::f16
                         : entry.name.find("mlp.gate.") != std::string::npos ? DType::f32
                                                                             : DType::bf16;
      streams.push_back({entry.name, type, entry.shape, [&files, &entry, type](const auto& sink) {
                           const auto values = files.values<float>(entry.name);
                           std::vector<uint8_t> bytes(values.size() * size_of(type));
                           narrow(bytes.data(), values.data(), type, std::ssize(values));
                           sink(bytes.data(), bytes.size());
                         }});
    }
    checkpoint::write_safetensors(folder_ / "theirs/model.safetensors", streams);
  }
  // For another tokenizer in its place.
  void drop_their_tokenizer() {
    for (const char* name : {"vocab.json", "merges.txt", "tokenizer_config.json"})
      fs::remove(folder_ / "theirs" / name);
  }

  // What was exported to `back` from runs/new has the tokenizer of runs/new.
  void the_tokenizer_comes_back() {
    EXPECT_EQ(json::parse(read_file(folder_ / "back/tokenizer_config.json")).at("tokenizer_class"),
              "PreTrainedTokenizerFast");
    ASSERT_EQ(moe("import back --output runs/again").code, 0);
    const auto fingerprint = [&](const std::string& run) {
      return json::parse(read_file(folder_ / run / "tokenizer/moe_tokenizer.json")).at("fingerprint");
    };
    EXPECT_EQ(fingerprint("runs/again"), fingerprint("runs/new"));
  }

  void same_file(const std::string& name, const std::string& folder = "back") const {
    EXPECT_EQ(read_file(folder_ / folder / name), read_file(folder_ / "theirs" / name)) << name;
  }
};

TEST_F(Faithful, WhatWasNotChangedComesBackByteForByte) {
  const CommandResult imported = moe("import theirs --output runs/new --verify");
  ASSERT_EQ(imported.code, 0) << imported.output;
  EXPECT_THAT(imported.output, AllOf(HasSubstr("read back from both sides: the same bits"),
                                     HasSubstr("by a second way, in double")));
  const CommandResult exported = moe("export runs/new back --verify");
  ASSERT_EQ(exported.code, 0) << exported.output;
  EXPECT_THAT(exported.output,
              AllOf(HasSubstr("read back from both sides: the same bits"), HasSubstr("by a second way")));
  for (const char* name :
       {"config.json", "generation_config.json", "chat_template.jinja", "tokenizer_config.json",
        "special_tokens_map.json", "vocab.json", "merges.txt", "model.safetensors"})
    same_file(name);
  // The tensors again, out of what went round twice.
  ASSERT_EQ(moe("import back --output runs/twice").code, 0);
  ASSERT_EQ(moe("export runs/twice twice").code, 0);
  same_file("model.safetensors", "twice");
}

TEST_F(Faithful, WhatTrainingChangedIsOurs) {
  ASSERT_EQ(moe("import theirs --output runs/new data.source=text.txt data.document_split=line "
                "model.max_seq_len=32 training.batch_size=2 training.max_steps=1 training.eval_every=0 "
                "training.learning_rate=0.01 training.warmup_steps=0")
                .code,
            0);
  ASSERT_EQ(moe("train --resume runs/new").code, 0);
  ASSERT_EQ(moe("export runs/new back --verify").code, 0);
  for (const char* name : {"config.json", "generation_config.json", "chat_template.jinja"}) same_file(name);
  const checkpoint::Safetensors theirs(folder_ / "theirs/model.safetensors"),
      back(folder_ / "back/model.safetensors");
  bool changed = false;
  for (const auto& entry : theirs.entries()) {
    const auto* found = back.find(entry.name);
    ASSERT_NE(found, nullptr) << entry.name;
    EXPECT_EQ(found->dtype, entry.dtype) << entry.name;
    changed |= !std::ranges::equal(back.bytes(*found), theirs.bytes(entry));
  }
  EXPECT_TRUE(changed);

  // One type for all, where it is asked for; and another family, with its own settings.
  ASSERT_EQ(moe("export runs/new plain --dtype f32").code, 0);
  EXPECT_EQ(json::parse(read_file(folder_ / "plain/config.json")).at("torch_dtype"), "float32");
  const checkpoint::Safetensors plain(folder_ / "plain/model.safetensors");
  for (const auto& entry : plain.entries()) EXPECT_EQ(entry.dtype, "F32") << entry.name;
  complains(moe("export runs/new other --family mixtral"), HasSubstr("model.qk_norm"));

  // A mean of such runs is still that model.
  ASSERT_EQ(moe("merge runs/new runs/new -o runs/mean").code, 0);
  ASSERT_EQ(moe("export runs/mean mean").code, 0);
  same_file("config.json", "mean");
  same_file("chat_template.jinja", "mean");
}

TEST_F(Faithful, AnotherTokenizerTakesItsFilesWithIt) {
  ASSERT_EQ(moe("import theirs --output runs/new data.tokenizer=" + at("other")).code, 1);
  fs::copy(fs::path(MOE_SOURCE_DIR) / "tests/golden/text/old.json", folder_ / "other.json");
  ASSERT_EQ(moe("import theirs --output runs/new data.tokenizer=other.json").code, 0);
  ASSERT_EQ(moe("export runs/new back").code, 0);
  EXPECT_FALSE(fs::exists(folder_ / "back/chat_template.jinja"));
  EXPECT_FALSE(fs::exists(folder_ / "back/vocab.json"));
  EXPECT_EQ(json::parse(read_file(folder_ / "back/config.json")).at("eos_token_id"), 700);
  EXPECT_EQ(json::parse(read_file(folder_ / "back/config.json")).at("transformers_version"), "4.51.0");
}

TEST_F(Faithful, TokenizersThatAreNotReadSayWhatToDo) {
  fs::remove(folder_ / "theirs/vocab.json");
  fs::remove(folder_ / "theirs/merges.txt");
  put("theirs/tokenizer.model", "\n\x05");
  complains(moe("import theirs --output runs/new"),
            AllOf(HasSubstr("tokenizer.model"), HasSubstr("a model of SentencePiece")));
  EXPECT_FALSE(fs::exists(folder_ / "runs/new"));
  fs::rename(folder_ / "theirs/tokenizer.model", folder_ / "theirs/spiece.model");
  complains(moe("import theirs --output runs/new"),
            AllOf(HasSubstr("under another name"), HasSubstr("data.tokenizer=")));
  EXPECT_EQ(moe("import theirs --output runs/new data.tokenizer=gpt2").code, 0);
  fs::remove(folder_ / "theirs/spiece.model");
  put("theirs/qwen.tiktoken", "IQ== 0\n");
  complains(moe("import theirs --output runs/more"),
            AllOf(HasSubstr("qwen.tiktoken"), HasSubstr("#PATTERN")));
}

TEST_F(Faithful, SentencePieceGoesInAndOut) {
  drop_their_tokenizer();
  fs::copy(fs::path(MOE_SOURCE_DIR) / "tests/golden/text/bpe_bytes.model",
           folder_ / "theirs/tokenizer.model");
  ASSERT_EQ(moe("import theirs --output runs/new").code, 0);
  fs::rename(folder_ / "theirs/tokenizer.model", folder_ / "kept.model");  // the run has its own
  const CommandResult plan = moe("generate runs/new --prompt a --max-new-tokens 2");
  EXPECT_EQ(plan.code, 0) << plan.output;
  ASSERT_EQ(moe("export runs/new back").code, 0);
  fs::rename(folder_ / "kept.model", folder_ / "theirs/tokenizer.model");
  same_file("tokenizer.model");
  EXPECT_EQ(json::parse(read_file(folder_ / "back/tokenizer_config.json")).at("eos_token"), "</s>");
  EXPECT_FALSE(fs::exists(folder_ / "back/tokenizer.json"));
  the_tokenizer_comes_back();
}

TEST_F(Faithful, PatternsAndNormalFormsGoInAndOut) {
  const auto golden = [](const std::string& name) {
    return json::parse(read_file(fs::path(MOE_SOURCE_DIR) / "tests/golden/text" / name));
  };
  json tokenizer = golden("old.json");
  for (json& token : tokenizer["added_tokens"]) token["special"] = true;
  tokenizer["pre_tokenizer"] = golden("steps.json").at("cases")[0].at("pre_tokenizer");
  tokenizer["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers",
       {{{"type", "NFKC"}}, {{"type", "Lowercase"}}, {{"type", "Prepend"}, {"prepend", "> "}}}}};
  drop_their_tokenizer();
  put("theirs/tokenizer.json", tokenizer.dump());
  const CommandResult imported =
      moe("import theirs --output runs/new data.source=text.txt data.document_split=line "
          "model.max_seq_len=32 training.batch_size=2 training.max_steps=1 training.eval_every=0 "
          "training.warmup_steps=0");
  ASSERT_EQ(imported.code, 0) << imported.output;
  const CommandResult trained = moe("train --resume runs/new");
  EXPECT_EQ(trained.code, 0) << trained.output;
  const CommandResult written = moe("generate runs/new --prompt \"A \uFB01\" --max-new-tokens 2");
  EXPECT_EQ(written.code, 0) << written.output;
  ASSERT_EQ(moe("export runs/new back").code, 0);
  same_file("tokenizer.json");
  the_tokenizer_comes_back();
}

// What is written shows as the library decodes it: without the space in front, unless a prompt is there.
TEST_F(Faithful, SentencePieceWritesWithoutItsSpace) {
  const auto tokenizer =
      text::open_tokenizer((fs::path(MOE_SOURCE_DIR) / "tests/golden/text/unigram.model").string());
  drop_their_tokenizer();
  ASSERT_EQ(
      moe("import theirs --output runs/new data.tokenizer=" MOE_SOURCE_DIR "/tests/golden/text/unigram.model")
          .code,
      0);
  int dropped = 0;
  for (const char* prompt : {"", "a"}) {
    const CommandResult written =
        moe(std::string("generate runs/new --json --quiet --samples 30 --prompt '") + prompt +
            "' --max-new-tokens 4 --ignore-end-of-text");
    ASSERT_EQ(written.code, 0) << written.output;
    std::istringstream lines(written.output);
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("{")) continue;
      const json one = json::parse(line);
      std::string expected;
      for (const int id : one.at("ids")) expected += tokenizer->bytes(id);
      if (prompt[0] == 0 && expected.starts_with(" ")) expected.erase(0, 1), ++dropped;
      EXPECT_EQ(one.at("text"), expected);
    }
  }
  EXPECT_GT(dropped, 0);
}

TEST_F(Faithful, TekkenGoesInAndOut) {
  drop_their_tokenizer();
  fs::copy(fs::path(MOE_SOURCE_DIR) / "tests/golden/text/tekken.json", folder_ / "theirs/tekken.json");
  ASSERT_EQ(moe("import theirs --output runs/new").code, 0);
  const CommandResult plan = moe("generate runs/new --prompt a --max-new-tokens 2");
  EXPECT_EQ(plan.code, 0) << plan.output;
  ASSERT_EQ(moe("export runs/new back").code, 0);
  same_file("tekken.json");
  EXPECT_EQ(json::parse(read_file(folder_ / "back/tokenizer_config.json")).at("eos_token"), "</s>");
  // transformers reads tokenizer.json: here it is the same tokenizer.
  fs::remove(folder_ / "back/tekken.json");
  the_tokenizer_comes_back();
}

}  // namespace
}  // namespace moe
