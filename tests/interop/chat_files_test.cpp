// SPDX-License-Identifier: MIT
// How a model talks, in the files of an export.
#include "interop/chat_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "interop/generation_settings.h"
#include "support/errors.h"
#include "text/gpt2_tokenizer.h"

namespace moe::interop {
namespace {

using nlohmann::json;
using test::user_error_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

text::Chat chat(const std::string& source, const std::vector<std::string>& added) {
  return {std::make_shared<const text::Gpt2Tokenizer>(),
          text::ChatTemplate("here", source, {{"eos_token", "<|endoftext|>"}}), added};
}
constexpr const char* kSource = "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}";

std::string text_of(const std::vector<TokenizerFile>& files, const std::string& name) {
  for (const TokenizerFile& file : files)
    if (file.name == name) return file.text;
  return "";
}

// The list is found among keys and texts that look like it, and all else stays byte for byte.
TEST(ChatFiles, AddsTokensToAnyTokenizerJson) {
  for (
      const std::string before :
      {R"({"model": {"vocab": {"\"added_tokens\": [": 1, "added_tokens": 2}}, "added_tokens" : [ ], "x": [1]})",
       R"({"added_tokens": [{"id": 0, "content": "]}\"\\"}
  ], "model": {"vocab": {"a": 1}}})"}) {
    const std::string after = with_added_tokens("t", before, 7, {"<|a|>", "\"b\""});
    json expected = json::parse(before);
    for (const auto& [id, content] : {std::pair{7, "<|a|>"}, {8, "\"b\""}})
      expected["added_tokens"].push_back({{"id", id},
                                          {"content", content},
                                          {"single_word", false},
                                          {"lstrip", false},
                                          {"rstrip", false},
                                          {"normalized", false},
                                          {"special", true}});
    EXPECT_EQ(json::parse(after), expected) << after;
    EXPECT_EQ(with_added_tokens("t", before, 7, {}), before);
    EXPECT_EQ(with_added_tokens("t", after, 7, {"<|a|>", "\"b\""}), after);
  }
  for (const char* bad : {"{}", R"({"added_tokens": [)", R"({"added_tokens": [{"a": "]}]})", ""})
    EXPECT_THAT(user_error_of([&] { with_added_tokens("t", bad, 1, {"x"}); }), HasSubstr("added_tokens"))
        << bad;
}

TEST(ChatFiles, ATemplateAndItsEndsAreAdded) {
  std::vector<TokenizerFile> files{{"tokenizer.json", R"({"added_tokens": []})"},
                                   {"tokenizer_config.json", R"({"eos_token": "other", "bos_token": null})"},
                                   {"generation_config.json", R"({"top_k": 5, "eos_token_id": 50256})"}};
  EXPECT_TRUE(add_chat(files, chat(kSource, {"<|end|>"})));
  EXPECT_EQ(text_of(files, "chat_template.jinja"), kSource);
  EXPECT_EQ(json::parse(text_of(files, "generation_config.json")),
            json::parse(R"({"top_k": 5, "eos_token_id": [50257, 50256]})"));
  const json config = json::parse(text_of(files, "tokenizer_config.json"));
  EXPECT_EQ(config.at("eos_token"), "other");  // it decides what the template is given
  EXPECT_EQ(config.at("added_tokens_decoder").size(), 1U);
  EXPECT_FALSE(add_chat(files, chat(kSource, {"<|end|>"})));  // once more: nothing is new
}

TEST(ChatFiles, WhatSaysTheSameStays) {
  const std::string quoted = json(kSource).dump();
  for (const std::string& config : {"{\"chat_template\":" + quoted + ", \"eos_token\":  \"<|endoftext|>\"}",
                                    "{\"chat_template\":[{\"name\": \"default\", \"template\": " + quoted +
                                        "}], \"eos_token\":  \"<|endoftext|>\"}"}) {
    std::vector<TokenizerFile> files{{"tokenizer_config.json", config},
                                     {"generation_config.json", R"({"eos_token_id": [1,  50256]})"}};
    const std::vector<TokenizerFile> before = files;
    EXPECT_FALSE(add_chat(files, chat(kSource, {})));
    EXPECT_EQ(files, before);
    // Another template: programs that look into tokenizer_config.json first must not find the old one.
    EXPECT_TRUE(add_chat(files, chat("{{ messages }}", {})));
    EXPECT_FALSE(json::parse(text_of(files, "tokenizer_config.json")).contains("chat_template"));
    EXPECT_EQ(text_of(files, "chat_template.jinja"), "{{ messages }}");
  }
}

TEST(GenerationSettings, AreReadAndRefusedByName) {
  const GenerationSettings some = read_generation_settings(
      "g", R"({"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": [3, 1],
               "max_length": 7, "min_p": null})");
  EXPECT_TRUE(some.sample);
  EXPECT_EQ(some.temperature, 0.6);
  EXPECT_EQ(some.top_k, 20);
  EXPECT_EQ(some.top_p, 0.95);
  EXPECT_FALSE(some.min_p || some.repetition_penalty);
  EXPECT_THAT(some.ends, ElementsAre(3, 1));
  EXPECT_THAT(read_generation_settings("g", R"({"eos_token_id": 9})").ends, ElementsAre(9));
  EXPECT_FALSE(read_generation_settings("g", "{}").sample);
  for (const char* bad :
       {R"({"eos_token_id": [1, "x"]})", R"({"eos_token_id": -1})", R"({"eos_token_id": [1e30]})"})
    EXPECT_THAT(user_error_of([&] { read_generation_settings("g", bad); }), HasSubstr("eos_token_id")) << bad;
  EXPECT_THAT(user_error_of([&] { read_generation_settings("g", R"({"top_k": "many"})"); }),
              HasSubstr("top_k"));
  EXPECT_THAT(user_error_of([&] { read_generation_settings("g", "[]"); }), HasSubstr("g"));
}

TEST(GenerationSettings, EndsComeFirstAndOnce) {
  const std::string whole = R"({"eos_token_id": [2, 1] })";
  EXPECT_EQ(with_ends("g", whole, {1, 2}), whole);
  EXPECT_EQ(json::parse(with_ends("g", R"({"eos_token_id": [2, 1]})", {5, 1})).at("eos_token_id"),
            (std::vector<int>{5, 1, 2}));
  EXPECT_EQ(json::parse(with_ends("g", "{}", {4})).at("eos_token_id"), std::vector<int>{4});
}

}  // namespace
}  // namespace moe::interop
