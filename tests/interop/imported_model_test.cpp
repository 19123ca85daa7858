// SPDX-License-Identifier: MIT
// What a run keeps of the model that it was imported from, and what of it comes back in an export.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "interop/hf_config.h"
#include "interop/imported_model.h"
#include "support/folder.h"

namespace moe::interop {
namespace {

using ::testing::HasSubstr;

// In the words of transformers 4, with keys that moe does not write.
constexpr const char* kOriginal = R"({"architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false,
  "eos_token_id": 7, "head_dim": 16, "hidden_act": "silu", "hidden_size": 32, "max_position_embeddings": 4096,
  "max_window_layers": 3, "model_type": "qwen3_moe", "moe_intermediate_size": 24, "intermediate_size": 48,
  "norm_topk_prob": true, "num_attention_heads": 4, "num_local_experts": 8, "num_experts_per_tok": 3,
  "num_hidden_layers": 3, "num_key_value_heads": 2, "rope_scaling": null, "rope_theta": 1000000,
  "torch_dtype": "bfloat16", "transformers_version": "4.51.0", "vocab_size": 97, "use_cache": true})";

class ConfigLike : public ::testing::Test {
 protected:
  ConfigLike() : read_(read_hf_model("config.json", kOriginal)) {}
  std::string text(std::optional<DType> type = {}, std::optional<int64_t> end = {}) const {
    return config_like("config.json", kOriginal, read_.config, *read_.family, type, end);
  }
  Json json(std::optional<DType> type = {}, std::optional<int64_t> end = {}) const {
    return parse_json("config.json", text(type, end));
  }
  // The keys that differ from the original's.
  std::vector<std::string> changed(const Json& json) const {
    const Json original = parse_json("config.json", kOriginal);
    std::vector<std::string> keys;
    for (const auto& [key, value] : json.items())
      if (!original.contains(key) || original.at(key) != value) keys.push_back(key);
    for (const auto& [key, value] : original.items())
      if (!json.contains(key)) keys.push_back("-" + key);
    return keys;
  }

  HfModel read_;
};

TEST_F(ConfigLike, IsTheOriginalByteForByteWhereNothingChanged) {
  EXPECT_EQ(text(), kOriginal);
  read_.config.max_seq_len = 128;  // the model still takes what it took
  read_.config.capacity_factor = 2;
  EXPECT_EQ(text(), kOriginal);
}

TEST_F(ConfigLike, WhatTheRunChangedIsOurs) {
  using Keys = std::vector<std::string>;
  EXPECT_EQ(changed(json(DType::f32)), Keys{"torch_dtype"});
  EXPECT_EQ(changed(json({}, 5)), (Keys{"bos_token_id", "eos_token_id"}));
  read_.config.max_seq_len = 8192;
  EXPECT_EQ(changed(json()), Keys{"max_position_embeddings"});
  EXPECT_EQ(json().at("max_position_embeddings"), 8192);
  read_.config.max_seq_len = 4096;
  read_.config.vocab_size = 128;
  read_.config.aux_loss_weight = 0.25;
  EXPECT_EQ(changed(json()), (Keys{"router_aux_loss_coef", "vocab_size"}));
}

// Two places for the same thing: what was said before must not stay in the other one.
TEST_F(ConfigLike, NeverContradictsTheModel) {
  read_.config.rope_theta = 5e5;
  EXPECT_EQ(read_hf_config("out", text()).rope_theta, 5e5);
  read_.config.rope_scaling = model::RopeScaling::linear;
  read_.config.rope_scaling_factor = 4;
  const model::ModelConfig again = read_hf_config("out", text());
  EXPECT_EQ(again.rope(), read_.config.rope());
  EXPECT_EQ(again.max_seq_len, 4096);
}

// Of a tensor for which our own family has a rule.
DType type_in(const ImportedModel& imported, const std::string& name) {
  TensorMap tensor;
  tensor.theirs = name;
  tensor.keep_f32 = true;
  return imported.types->of(tensor);
}

TEST(ImportedModel, ComesBack) {
  const test::TestFolder folder;
  folder.put("from/config.json", kOriginal);
  folder.put("from/chat_template.jinja", "{{ messages }}");
  folder.put("from/model.safetensors", "not a small file");
  folder.put("run/config.yaml", "");
  const auto run = folder.path() / "run";
  EXPECT_FALSE(read_imported(run).has_value());
  const Family& family = *find_family("qwen3_moe");
  keep_imported(run, folder.path() / "from", family,
                {{"a", DType::bf16}, {"b", DType::bf16}, {"c", DType::f32}, {"d", DType::f16}}, "0123");
  const auto imported = read_imported(run);
  ASSERT_TRUE(imported.has_value());
  EXPECT_EQ(imported->family, "qwen3_moe");
  EXPECT_EQ(imported->tokenizer, "0123");
  EXPECT_EQ(imported->files.size(), 2U);
  EXPECT_EQ(*imported->file("config.json"), kOriginal);
  EXPECT_EQ(*imported->file("chat_template.jinja"), "{{ messages }}");
  const auto type_of = [&](const char* name) { return type_in(*imported, name); };
  EXPECT_EQ(type_of("a"), DType::bf16);  // as it came, whatever our own rule for routers is
  EXPECT_EQ(type_of("c"), DType::f32);
  EXPECT_EQ(type_of("d"), DType::f16);

  // A run that is made of this one: of another family it has the tokenizer's files alone.
  folder.put("next/config.yaml", "");
  const auto next = folder.path() / "next";
  keep_imported_of(next, run, family);
  EXPECT_EQ(type_in(*read_imported(next), "c"), DType::f32);
  EXPECT_NE(read_imported(next)->file("config.json"), nullptr);
  folder.put("other/config.yaml", "");
  keep_imported_of(folder.path() / "other", run, *find_family("mixtral"));
  const auto other = read_imported(folder.path() / "other");
  EXPECT_EQ(other->family, "mixtral");
  EXPECT_FALSE(other->types.has_value());
  EXPECT_EQ(other->file("config.json"), nullptr);
  EXPECT_NE(other->file("chat_template.jinja"), nullptr);
}

}  // namespace
}  // namespace moe::interop
