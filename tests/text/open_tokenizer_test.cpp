// SPDX-License-Identifier: MIT
// The setting data.tokenizer: what each name opens, what is said of a wrong one, which changes make another
// tokenizer, and the copy of its files that a run keeps.
#include "text/open_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "support/errors.h"
#include "support/folder.h"
#include "text/gpt2_tokenizer.h"
#include "text/kept_tokenizer.h"
#include "text/load_tokenizer.h"
#include "text/texts.h"
#include "text/vocabulary.h"
#include "text/write_tokenizer_json.h"

namespace moe::text {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string golden(const std::string& name) {
  return test::golden_text_path(name).string();
}

std::string refusal(const std::string& name) {
  return test::user_error_of([&] { open_tokenizer(name); });
}

TEST(OpenTokenizer, EachKindOfName) {
  const test::TestFolder folder;
  EXPECT_EQ(open_tokenizer("gpt2")->fingerprint(), Gpt2Tokenizer::kFacts.fingerprint);
  folder.put("mine/tokenizer.json", test::golden_text("old.json"));
  const auto file = open_tokenizer((folder.path() / "mine/tokenizer.json").string());
  EXPECT_EQ(file->facts().name, "mine");
  EXPECT_EQ(file->vocabulary(), 709);
  EXPECT_EQ(open_tokenizer((folder.path() / "mine").string())->fingerprint(), file->fingerprint());
  const auto ranks = open_tokenizer(golden("ranks.tiktoken") + "#o200k");
  EXPECT_EQ(ranks->encode("a b"),
            load_tiktoken(golden("ranks.tiktoken"), SplitPattern::o200k)->encode("a b"));
  EXPECT_EQ(open_tokenizer(golden("ranks.tiktoken") + "#o200k#9000")->end_of_text(), 9000);
  folder.put("a#b/tokenizer.json", test::golden_text("old.json"));
  EXPECT_EQ(open_tokenizer((folder.path() / "a#b/tokenizer.json").string())->facts().name, "a#b");
}

TEST(OpenTokenizer, FirstIdsOfGpt2) {
  const auto small = open_tokenizer("gpt2:8192");
  EXPECT_EQ(small->facts().name, "GPT-2's first 8192 ids");
  EXPECT_EQ(small->vocabulary(), 8192);
  EXPECT_EQ(small->end_of_text(), 8191);
  EXPECT_EQ(small->facts().end_of_text_name, "<|endoftext|>");
  const std::vector<TokenId> ids = small->encode(test::golden_text("cuts.txt"));
  const std::string golden_bytes = test::golden_text("gpt2_8192.ids");
  ASSERT_EQ(ids.size() * 2, golden_bytes.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const int low = static_cast<unsigned char>(golden_bytes[2 * i]);
    const int high = static_cast<unsigned char>(golden_bytes[2 * i + 1]);
    ASSERT_EQ(ids[i], low + 256 * high) << "id " << i;
  }
  EXPECT_EQ(small->decode(ids), test::golden_text("cuts.txt"));
  EXPECT_EQ(open_tokenizer("gpt2:257")->encode("the").size(), 3u);
  EXPECT_EQ(open_tokenizer("gpt2:258")->encode(" the"), (std::vector<TokenId>{256, 71, 68}));
  EXPECT_TRUE(open_tokenizer("gpt2:50257")->origin().files.empty());
  EXPECT_EQ(tokenizer_path("gpt2:8192"), "");
}

TEST(OpenTokenizer, FirstIdsOfGpt2AreKeptAsAFile) {
  const test::TestFolder folder;
  const auto small = open_tokenizer("gpt2:1000");
  keep_tokenizer(folder.path() / "kept", "gpt2:1000", *small);
  const KeptTokenizer kept = open_kept_tokenizer(folder.path() / "kept");
  EXPECT_EQ(kept.setting, "gpt2:1000");
  EXPECT_EQ(kept.tokenizer->fingerprint(), small->fingerprint());
  EXPECT_EQ(kept.tokenizer->facts().name, small->facts().name);
}

TEST(OpenTokenizer, SaysWhatIsWrongWithAName) {
  for (const char* name : {"gpt2:", "gpt2:x", "gpt2:256", "gpt2:50258", "gpt2:-1"}) {
    EXPECT_THAT(refusal(name), AllOf(HasSubstr("257 to 50257"), HasSubstr(name)));
  }
  const test::TestFolder folder;
  EXPECT_THAT(refusal("gpt-2"), AllOf(HasSubstr("data.tokenizer: expected gpt2, gpt2:N, a tokenizer.json"),
                                      HasSubstr("\"gpt-2\""), HasSubstr("did you mean gpt2?")));
  EXPECT_THAT(refusal("o200k"), HasSubstr("PATH#PATTERN, as o200k_base.tiktoken#o200k"));
  EXPECT_THAT(refusal("hf://datasets/a/b"), HasSubstr("fetch the file first"));
  EXPECT_THAT(refusal("nowhere/tokenizer.json"), HasSubstr("where there is no file"));
  EXPECT_THAT(refusal("nowhere.tiktoken#o200k"), HasSubstr("\"nowhere.tiktoken\", where there is no file"));
  EXPECT_THAT(refusal(""), HasSubstr("found \"\""));
  EXPECT_THAT(refusal("#o200k"), HasSubstr("found \"#o200k\""));
  EXPECT_THAT(refusal(folder.path().string()), HasSubstr("a folder with tokenizer.json"));
  EXPECT_THAT(refusal(folder.path().string() + "#o200k"), HasSubstr("needs no pattern"));
  EXPECT_THAT(refusal(golden("ranks.tiktoken")),
              HasSubstr("PATH#PATTERN, of gpt2, gpt2_digits, cl100k, llama3, qwen, o200k, tekken"));
  EXPECT_THAT(refusal(golden("ranks.tiktoken") + "#o200"), HasSubstr("did you mean o200k?"));
  EXPECT_THAT(refusal(golden("ranks.tiktoken") + "#o200k#x"), HasSubstr("found \"x\""));
  EXPECT_THAT(refusal(golden("ranks.tiktoken") + "#o200k#5"), HasSubstr("that no token has, found 5"));
  folder.put("tokenizer.json", "{\"model\": {\"type\": \"Unigram\"}}");
  EXPECT_THAT(refusal(folder.path().string()),
              AllOf(HasSubstr("data.tokenizer: "), HasSubstr("expected BPE, found \"Unigram\"")));
}

BytePairModel gpt2_model() {
  const Vocabulary vocabulary(gpt2_merges());
  BytePairModel model;
  for (TokenId id = 0; id < vocabulary.size(); ++id) model.tokens.emplace_back(vocabulary.bytes(id));
  model.tokens.emplace_back();
  model.merges = PairTable(vocabulary.merges().size());
  TokenId made = 256;
  for (const Merge& merge : vocabulary.merges()) model.merges.add({merge.left, merge.right, made++});
  model.end_of_text = Gpt2Tokenizer::kEndOfText;
  model.added = {{model.end_of_text, "<|endoftext|>", false}};
  return model;
}

TEST(OpenTokenizer, AFileOfGpt2IsTheOneInsideTheProgram) {
  const test::TestFolder folder;
  BytePairModel model = gpt2_model();
  folder.put("same/tokenizer.json", write_tokenizer_json(model));
  const auto same = open_tokenizer((folder.path() / "same").string());
  EXPECT_EQ(same->facts().name, "GPT-2");
  EXPECT_EQ(same->fingerprint(), Gpt2Tokenizer::kFacts.fingerprint);
  EXPECT_TRUE(same->origin().files.empty());
  model.pattern = SplitPattern::qwen;
  folder.put("other/tokenizer.json", write_tokenizer_json(model));
  const auto other = open_tokenizer((folder.path() / "other").string());
  EXPECT_NE(other->fingerprint(), Gpt2Tokenizer::kFacts.fingerprint);
  EXPECT_EQ(other->encode("Hello world"), same->encode("Hello world"));
  EXPECT_NE(other->encode("12345"), same->encode("12345"));
}

TEST(OpenTokenizer, WhateverChangesIdsMakesAnother) {
  const test::TestFolder folder;
  const auto fingerprint = [&](const std::function<void(Json&)>& change) {
    Json json = parse_json("golden", test::golden_text("old.json"));
    change(json);
    folder.put("tokenizer.json", json.dump());
    return open_tokenizer(folder.path().string())->fingerprint();
  };
  const uint64_t own = fingerprint([](Json&) {});
  EXPECT_EQ(own, open_tokenizer(golden("old.json"))->fingerprint());
  const std::vector<std::function<void(Json&)>> changes = {
      [](Json& json) {
        json["normalizer"] = {{"type", "NFC"}};
      },
      [](Json& json) {
        json["pre_tokenizer"] = {
            {"type", "Sequence"},
            {"pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, json["pre_tokenizer"]}}};
      },
      [](Json& json) { json["model"]["ignore_merges"] = true; },
      [](Json& json) { std::swap(json["model"]["merges"][3], json["model"]["merges"][4]); },
      [](Json& json) { json["model"]["merges"].erase(json["model"]["merges"].size() - 1); },
      [](Json& json) { std::swap(json["model"]["vocab"]["a"], json["model"]["vocab"]["b"]); },
      [](Json& json) { json["added_tokens"][2]["content"] = "<|another|>"; },
      [](Json& json) {
        json["added_tokens"].push_back({{"id", 720}, {"content", "<|x|>"}});
      },
  };
  for (size_t i = 0; i < changes.size(); ++i) EXPECT_NE(fingerprint(changes[i]), own) << i;
  EXPECT_NE(open_tokenizer(golden("ranks.tiktoken") + "#o200k")->fingerprint(),
            open_tokenizer(golden("ranks.tiktoken") + "#tekken")->fingerprint());
}

TEST(TiktokenAsJson, IsTheSameTokenizer) {
  const test::TestFolder folder;
  for (const auto& choice : choices_of(SplitPattern())) {
    const auto ranks = load_tiktoken(golden("ranks.tiktoken"), choice.value);
    folder.put("tokenizer.json", tokenizer_as_json(*ranks));
    const auto json = load_tokenizer(folder.path());
    EXPECT_EQ(json->fingerprint(), ranks->fingerprint()) << choice.name;
    EXPECT_EQ(json->facts().end_of_text_name, ranks->facts().end_of_text_name);
    EXPECT_EQ(json->encode(test::golden_text("cuts.txt")), ranks->encode(test::golden_text("cuts.txt")));
  }
}

TEST(TokenizerChoice, OpensOnceForAllCopies) {
  TokenizerChoice choice;
  EXPECT_EQ(choice.facts().name, "GPT-2");
  choice.name = golden("ranks.tiktoken") + "#o200k";
  const TokenizerChoice copy = choice;
  std::vector<std::shared_ptr<const Tokenizer>> opened(4);
  {
    std::vector<std::jthread> threads;
    for (auto& one : opened) threads.emplace_back([&, mine = choice] { one = mine.open(); });
  }
  for (const auto& one : opened) EXPECT_EQ(one, copy.open());
  choice.name = "gpt2";
  EXPECT_EQ(choice.open()->vocabulary(), Gpt2Tokenizer::kVocabulary);
  EXPECT_EQ(copy.open(), opened.front());
  TokenizerChoice other = copy;
  other.use(choice.open());
  EXPECT_EQ(other.facts().name, "GPT-2");
  EXPECT_EQ(copy.open(), opened.front());
}

TEST(KeptTokenizer, NeedsTheOriginalNoMore) {
  const test::TestFolder folder;
  folder.put("mine/tokenizer.json", test::golden_text("old.json"));
  folder.put("mine/tokenizer_config.json", R"({"pad_token": "<|padding|>"})");
  folder.put("mine.tiktoken", test::golden_text("ranks.tiktoken"));
  const std::vector<std::string> names = {(folder.path() / "mine").string(),
                                          (folder.path() / "mine.tiktoken").string() + "#qwen#9000"};
  for (const std::string& name : names) {
    const auto original = open_tokenizer(name);
    keep_tokenizer(folder.path() / "kept", name, *original);
    std::filesystem::remove_all(tokenizer_path(name));
    ASSERT_TRUE(has_kept_tokenizer(folder.path() / "kept"));
    const KeptTokenizer kept = open_kept_tokenizer(folder.path() / "kept");
    EXPECT_EQ(kept.setting, name);
    EXPECT_EQ(kept.tokenizer->fingerprint(), original->fingerprint());
    EXPECT_EQ(kept.tokenizer->facts().name, original->facts().name);
    EXPECT_EQ(kept.tokenizer->end_of_text(), original->end_of_text());
    EXPECT_EQ(kept.tokenizer->encode("it's  1234\n"), original->encode("it's  1234\n"));
    EXPECT_EQ(kept.tokenizer->origin().files.front().bytes, original->origin().files.front().bytes);
  }
  keep_tokenizer(folder.path() / "none", "gpt2", *open_tokenizer("gpt2"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "none"));
}

TEST(KeptTokenizer, DamageIsNoticed) {
  const test::TestFolder folder;
  const std::string name = golden("ranks.tiktoken") + "#o200k";
  const auto kept = folder.path() / "kept";
  keep_tokenizer(kept, name, *open_tokenizer(name));
  const std::string ranks = test::golden_text("ranks.tiktoken");
  folder.put("kept/ranks.tiktoken", ranks.substr(0, ranks.rfind('\n', ranks.size() - 2) + 1));
  EXPECT_THAT(test::user_error_of([&] { open_kept_tokenizer(kept); }),
              AllOf(HasSubstr("the tokenizer of the run, fingerprint "), HasSubstr("found another, "),
                    HasSubstr("copy the run's folder tokenizer/ again")));
  folder.put("kept/moe_tokenizer.json", "{}");
  EXPECT_THAT(test::user_error_of([&] { open_kept_tokenizer(kept); }), HasSubstr("moe_tokenizer.json"));
}

}  // namespace
}  // namespace moe::text
