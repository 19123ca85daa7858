// SPDX-License-Identifier: MIT
// Small tokenizers in other people's formats: ids against those of `tokenizers` and tiktoken
// (tools/make_tokenizer_file_goldens.py), and files that are not what they should be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/random.h"
#include "base/utf8.h"
#include "support/errors.h"
#include "support/folder.h"
#include "text/load_tokenizer.h"
#include "text/tekken_file.h"
#include "text/texts.h"
#include "text/tiktoken_file.h"
#include "text/tokenizer_json.h"

namespace moe::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<TokenId> golden_ids(const std::string& name) {
  const std::string bytes = test::golden_text(name);
  std::vector<uint16_t> stored(bytes.size() / 2);
  std::memcpy(stored.data(), bytes.data(), bytes.size());
  return {stored.begin(), stored.end()};
}

void expect_same(const Tokenizer& tokenizer, const std::vector<TokenId>& expected) {
  const std::vector<TokenId> ids = tokenizer.encode(test::golden_text("cuts.txt"));
  const auto [ours, theirs] = std::mismatch(ids.begin(), ids.end(), expected.begin(), expected.end());
  const auto same = static_cast<size_t>(ours - ids.begin());
  EXPECT_TRUE(ids == expected) << "first difference after: "
                               << tokenizer.decode(
                                      std::span(ids).subspan(same - std::min<size_t>(same, 20)).first(20));
}

TEST(TokenizerFiles, OldJsonEncodesAsTokenizersDoes) {
  const auto tokenizer = load_tokenizer(test::golden_text_path("old.json"));
  expect_same(*tokenizer, golden_ids("old.ids"));
  EXPECT_EQ(tokenizer->facts().name, "text");  // the folder's
  EXPECT_EQ(tokenizer->vocabulary(), 709);
  EXPECT_EQ(tokenizer->end_of_text(), 700);
  EXPECT_EQ(tokenizer->facts().end_of_text_name, "<|endoftext|>");
  EXPECT_EQ(tokenizer->facts().padding, 701);
  EXPECT_EQ(tokenizer->bytes(700), "");
  EXPECT_EQ(tokenizer->bytes(704), "    ");
}

TEST(TokenizerFiles, NewJsonEncodesAsTokenizersDoes) {
  const auto tokenizer = load_tokenizer(test::golden_text_path("new.json"));
  expect_same(*tokenizer, golden_ids("new.ids"));
  EXPECT_THAT(tokenizer->encode(" antidisestablishmentarianism"), ElementsAre(700));  // no merges make it
  EXPECT_EQ(tokenizer->encode("e\u0301"), tokenizer->encode("é"));
  EXPECT_EQ(tokenizer->facts().padding, std::nullopt);
}

TEST(TokenizerFiles, RanksEncodeAsTiktokenDoes) {
  const auto tokenizer = load_tiktoken(test::golden_text_path("ranks.tiktoken"), SplitPattern::o200k);
  expect_same(*tokenizer, golden_ids("ranks.ids"));
  EXPECT_EQ(tokenizer->facts().name, "ranks.tiktoken");
  EXPECT_EQ(tokenizer->end_of_text(), tokenizer->vocabulary() - 1);
  EXPECT_THAT(test::user_error_of(
                  [] { load_tiktoken(test::golden_text_path("ranks.tiktoken"), SplitPattern::qwen, 5); }),
              HasSubstr("an id for the end of a text that no token has, found 5"));
}

TEST(TokenizerFiles, TekkenEncodesAsMistralCommonDoes) {
  const auto tokenizer = load_tokenizer(test::golden_text_path("tekken.json"));
  expect_same(*tokenizer, golden_ids("tekken.ids"));
  EXPECT_EQ(tokenizer->vocabulary(), 694);
  EXPECT_EQ(tokenizer->facts().end_of_text_name, "</s>");
  EXPECT_EQ(tokenizer->end_of_text(), 2);
  EXPECT_EQ(tokenizer->facts().padding, 11);
  EXPECT_EQ(tokenizer->bytes(24 + 'a'), "a");  // ranks stand behind the special tokens, bytes in their order
  EXPECT_THAT(tokenizer->encode("[INST]"), testing::SizeIs(testing::Gt(1U)));  // text is text
  // For transformers, which has no such file.
  test::TestFolder folder;
  folder.put("tokenizer.json", tokenizer_as_json(*tokenizer));
  EXPECT_EQ(load_tokenizer(folder.path())->fingerprint(), tokenizer->fingerprint());
}

TEST(TokenizerFiles, TekkenIsRefusedByField) {
  const Json whole = parse_json("golden", test::golden_text("tekken.json"));
  const auto said = [&](const std::function<void(Json&)>& change) {
    Json json = whole;
    change(json);
    return test::user_error_of([&] { read_tekken("tekken.json", json.dump()); });
  };
  EXPECT_EQ(said([](Json&) {}), "");
  EXPECT_THAT(said([](Json& json) { json["config"]["pattern"] = "\\w+"; }), HasSubstr("\"pattern\""));
  EXPECT_THAT(said([](Json& json) { json["config"]["default_vocab_size"] = 100; }),
              HasSubstr("default_vocab_size"));
  EXPECT_THAT(said([](Json& json) { json["config"]["default_vocab_size"] = 800; }),
              HasSubstr("each rank below 776"));
  EXPECT_THAT(said([](Json& json) { json["vocab"][3]["token_bytes"] = "?"; }), HasSubstr("base64"));
  EXPECT_THAT(said([](Json& json) { json["vocab"][3]["rank"] = 2; }), HasSubstr("one token for each id"));
  EXPECT_THAT(said([](Json& json) { json["vocab"].erase(97); }), HasSubstr("each rank below"));
  EXPECT_THAT(said([](Json& json) {
                json["special_tokens"] = Json::array({{{"rank", 0}, {"token_str", "<unk>"}}});
              }),
              HasSubstr("</s>"));
  EXPECT_THAT(said([](Json& json) {
                json["special_tokens"] =
                    Json::array({{{"rank", 0}, {"token_str", "</s>"}}, {{"rank", 1}, {"token_str", "</s>"}}});
              }),
              HasSubstr("each name once"));
}

TEST(TokenizerFiles, MarkersInTextAreText) {
  for (const char* name : {"old.json", "new.json"}) {
    const auto tokenizer = load_tokenizer(test::golden_text_path(name));
    for (const std::string text : {"<|endoftext|>", "a<|im_end|>b", "<|padding|>"}) {
      const std::vector<TokenId> ids = tokenizer->encode(text);
      EXPECT_GT(ids.size(), 1u) << text;
      EXPECT_EQ(tokenizer->decode(ids), text);
    }
  }
}

TEST(TokenizerFiles, RandomBytesRoundTripAfterRepair) {
  const Random random(3, "bytes");
  for (const auto& choice : choices_of(SplitPattern())) {
    const auto tokenizer = load_tiktoken(test::golden_text_path("ranks.tiktoken"), choice.value);
    const auto encoder = tokenizer->encoder();
    for (uint64_t i = 0; i < 300; ++i) {
      const std::string text = test::random_text(random, i);
      std::vector<TokenId> ids;
      encoder->encode(text, ids);
      std::string expected;
      repair_utf8(text, expected);
      ASSERT_EQ(tokenizer->decode(ids), expected) << choice.name;
    }
  }
}

TEST(TokenizerFiles, ConfigNamesSpecialTokens) {
  const test::TestFolder folder;
  Json json = parse_json("golden", test::golden_text("old.json"));
  json["added_tokens"][0]["content"] = "[STOP]";
  folder.put("tokenizer.json", json.dump());
  EXPECT_THAT(test::user_error_of([&] { load_tokenizer(folder.path()); }),
              HasSubstr("one that ends a document, or its name as eos_token in tokenizer_config.json"));
  folder.put("tokenizer_config.json", R"({"eos_token": {"content": "[STOP]"}, "pad_token": "[STOP]"})");
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_EQ(tokenizer->end_of_text(), 700);
  EXPECT_EQ(tokenizer->facts().end_of_text_name, "[STOP]");
}

using Change = std::function<void(Json&)>;

// What reading old.json says after `change`.
std::string complaint(const Change& change) {
  Json json = parse_json("golden", test::golden_text("old.json"));
  change(json);
  return test::user_error_of([&] { read_tokenizer_json("t.json", json.dump(), {}); });
}

// Each change, and part of what is then said.
void expect_complaints(const std::vector<std::pair<Change, std::string>>& mistakes) {
  for (const auto& [change, said] : mistakes) EXPECT_THAT(complaint(change), HasSubstr(said));
}

TEST(TokenizerJson, RefusesByName) {
  EXPECT_EQ(complaint([](Json&) {}), "");
  EXPECT_EQ(
      complaint([](Json& json) { json["model"]["type"] = "Unigram"; }),
      "t.json: model: field \"type\": expected BPE, found \"Unigram\". Hint: docs/tokenizers.md says what "
      "is read");
  expect_complaints({
      {[](Json& json) {
         json["normalizer"] = {{"type", "Nmt"}};
       },
       "expected NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace or Prepend, found \"Nmt\""},
      {[](Json& json) {
         json["normalizer"] = {{"type", "NFKC"}};
       },
       "\"normalizer\": expected NFC or NFD beside added tokens of white space, found another"},
      {[](Json& json) {
         json["pre_tokenizer"] = {{"type", "Whitespace"}};
       },
       "expected Split, Digits or ByteLevel, found \"Whitespace\""},
      {[](Json& json) { json["pre_tokenizer"]["add_prefix_space"] = true; }, "expected false, found true"},
      {[](Json& json) {
         json["pre_tokenizer"] = {
             {"type", "Split"}, {"pattern", {{"Regex", "a"}}}, {"behavior", "Removed"}, {"invert", false}};
       },
       "\"behavior\": expected Isolated, Contiguous, MergedWithPrevious, MergedWithNext, or Removed with "
       "invert, found Removed"},
      {[](Json& json) {
         const Json byte_level = json["pre_tokenizer"];
         json["pre_tokenizer"] = {
             {"type", "Sequence"},
             {"pretokenizers",
              {{{"type", "Split"}, {"pattern", {{"Regex", "a"}}}, {"behavior", "Removed"}, {"invert", true}},
               byte_level}}};
       },
       "Removed with invert only where a known pattern matches all of a text, found another pattern"},
      {[](Json& json) {
         json["decoder"] = {{"type", "WordPiece"}};
       },
       "expected ByteLevel, found \"WordPiece\""},
      {[](Json& json) {
         json["post_processor"] = {{"type", "BertProcessing"}};
       },
       "expected ByteLevel or TemplateProcessing"},
      {[](Json& json) { json["model"]["dropout"] = 0.1; }, "\"dropout\": expected none, found 0.1"},
      {[](Json& json) { json["model"]["end_of_word_suffix"] = "</w>"; }, "expected none, found \"</w>\""},
      {[](Json& json) { json["model"]["byte_fallback"] = true; }, "Metaspace, where byte_fallback is true"},
      {[](Json& json) { json["added_tokens"][3]["lstrip"] = true; },
       "\"lstrip\": expected false, found true"},
  });
}

TEST(TokenizerJson, RefusesWhatDoesNotFit) {
  expect_complaints({
      {[](Json& json) { json["model"].erase("vocab"); }, "\"vocab\": expected a value, found none"},
      {[](Json& json) { json["model"]["vocab"]["a"] = -1; }, "an id from 0 to 999999, found -1"},
      {[](Json& json) { json["model"]["vocab"]["a"] = 1'000'000; }, "an id below 1000000, found 1000000"},
      {[](Json& json) { json["model"]["vocab"]["a"] = 1.5; }, "an id below 1000000, found 1.5"},
      {[](Json& json) { json["model"]["vocab"]["a"] = 300; }, "one token for each id, found a second one"},
      {[](Json& json) { json["model"]["vocab"].erase("!"); }, "none for byte 33"},
      {[](Json& json) { json["model"]["vocab"]["<|endoftext|>"] = 720; }, "expected 700, as in added_tokens"},
      {[](Json& json) { json["model"]["vocab"]["zz"] = 700; }, "another id than the added token"},
      {[](Json& json) { json["model"]["merges"][3] = "a"; }, "merges[3]: expected two tokens, found \"a\""},
      {[](Json& json) { json["model"]["merges"][3] = 7; }, "merges[3]: expected two tokens, found 7"},
      {[](Json& json) { json["model"]["merges"][3] = "a zzzz"; }, "expected tokens of the vocabulary"},
      {[](Json& json) { json["model"]["merges"][3] = "漢 a"; }, "expected tokens of the vocabulary"},
      {[](Json& json) { json["model"]["merges"][3] = json["model"]["merges"][2]; },
       "merges[3]: expected each pair once"},
      {[](Json& json) { json["added_tokens"][1]["id"] = 700; }, "\"id\": expected each once, found 700"},
      {[](Json& json) { json["added_tokens"][1]["content"] = "<|endoftext|>"; }, "expected each once"},
      {[](Json& json) { json["added_tokens"][1]["id"] = -4; }, "a whole number from 0 to 999999, found -4"},
      {[](Json& json) { json["added_tokens"] = Json::array(); }, "one that ends a document"},
      {[](Json& json) { json["added_tokens"] = 3; }, "expected a list, found 3"},
  });
}

TEST(TokenizerJson, RefusesEveryTruncation) {
  const std::string text = test::golden_text("old.json");
  for (size_t size = 0; size + 2 < text.size(); size += 97) {
    EXPECT_THAT(test::user_error_of([&] { read_tokenizer_json("t.json", text.substr(0, size), {}); }),
                HasSubstr("t.json: expected JSON"));
  }
}

TEST(Tiktoken, RefusesWhatDoesNotFit) {
  const std::string good = test::golden_text("ranks.tiktoken");
  const auto said = [&](const std::string& more) {
    return test::user_error_of([&] { read_tiktoken("f", good + more); });
  };
  EXPECT_EQ(said(""), "");
  EXPECT_THAT(said("eno="), HasSubstr("a token in base64, a space and its rank, found eno="));
  EXPECT_THAT(said("eno 5000\n"), HasSubstr("a token in base64"));
  EXPECT_THAT(said("enp6 5000 1\n"), HasSubstr("a token in base64"));
  EXPECT_THAT(said("enp6 -1\n"), HasSubstr("an id from 0 to 999999, found -1"));
  EXPECT_THAT(said("enp6 99999999999\n"), HasSubstr("an id from 0 to 999999"));
  EXPECT_THAT(said("enp6 1\n"), HasSubstr("one token for each id, found a second one with 1"));
  EXPECT_THAT(said("YQ== 5000\n"), HasSubstr("each token once, found \"a\" again"));
  EXPECT_THAT(said(" 5000\n"), HasSubstr("a token of at least one byte"));
  EXPECT_THAT(said("enp6enp6enp6 5000\n"), HasSubstr("two tokens of lower rank that it merges from"));
  EXPECT_THAT(test::user_error_of([] { read_tiktoken("f", ""); }), HasSubstr("none for byte 0"));
}

}  // namespace
}  // namespace moe::text
