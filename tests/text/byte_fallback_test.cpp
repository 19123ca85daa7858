// SPDX-License-Identifier: MIT
// tokenizer.json with byte_fallback: ids against those of `tokenizers` (tools/make_sentencepiece_goldens.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "support/errors.h"
#include "support/folder.h"
#include "text/byte_pair_tokenizer.h"
#include "text/open_tokenizer.h"
#include "text/texts.h"
#include "text/tokenizer_json.h"

namespace moe::text {
namespace {

using testing::HasSubstr;

class ByteFallback : public testing::Test {
 protected:
  const Json golden_ = parse_json("golden", test::golden_text("byte_fallback.json"));
  Json file_ = golden_.at("file");

  void take(const Json& one) {
    file_["normalizer"] = one.at("normalizer");
    file_["pre_tokenizer"] = one.at("pre_tokenizer");
  }
  std::string complaint() const {
    return test::user_error_of([&] { read_tokenizer_json("f", file_.dump(), {}); });
  }
};

TEST_F(ByteFallback, EncodesAsTokenizersDoes) {
  for (const Json& one : golden_.at("cases")) {
    take(one);
    const BytePairTokenizer tokenizer(read_tokenizer_json("f", file_.dump(), {}));
    for (size_t i = 0; i < golden_.at("texts").size(); ++i) {
      const auto text = golden_.at("texts").at(i).get<std::string>();
      const auto ids = tokenizer.encode(text);
      EXPECT_EQ(ids, one.at("ids").at(i).get<std::vector<TokenId>>())
          << one.at("normalizer").dump() << one.at("pre_tokenizer").dump() << quote(Json(text));
      if (text.find("\u2581") != std::string::npos) continue;  // which becomes a space
      const bool own =
          tokenizer.facts().space_in_front && text.starts_with(' ') && one.at("normalizer").is_null();
      EXPECT_EQ(tokenizer.decode(ids), own ? text.substr(1) : text) << one.at("pre_tokenizer").dump();
    }
  }
}

TEST_F(ByteFallback, IsReadAsAFile) {
  const test::TestFolder folder;
  take(golden_.at("cases").at(0));
  folder.put("mine/tokenizer.json", file_.dump());
  const auto tokenizer = open_tokenizer((folder.path() / "mine").string());
  EXPECT_TRUE(tokenizer->facts().space_in_front);
  EXPECT_EQ(tokenizer->facts().end_of_text_name, "</s>");
  EXPECT_EQ(tokenizer->bytes(3 + 'a'), "a");  // <0x61>
  take(golden_.at("cases").at(4));
  const BytePairTokenizer other(read_tokenizer_json("f", file_.dump(), {}));
  EXPECT_FALSE(other.facts().space_in_front);
  EXPECT_NE(other.fingerprint(), tokenizer->fingerprint());
}

// One long word, and one long text, take time by their length alone.
TEST_F(ByteFallback, LongTextsAreNotQuadratic) {
  take(golden_.at("cases").at(0));
  const BytePairTokenizer tokenizer(read_tokenizer_json("f", file_.dump(), {}));
  const std::string word(1 << 20, 'e'), spaces(1 << 20, ' ');
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(word)), word);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(spaces)), spaces);
}

TEST_F(ByteFallback, WhatIsNotReadIsRefusedByName) {
  take(golden_.at("cases").at(0));
  EXPECT_EQ(complaint(), "");
  file_["normalizer"] = nullptr;
  EXPECT_THAT(complaint(), HasSubstr("Replace of spaces, where byte_fallback is true"));
  file_["normalizer"] = {{"type", "Lowercase"}};
  EXPECT_THAT(complaint(), HasSubstr("Prepend or Replace, where byte_fallback is true"));
  take(golden_.at("cases").at(2));
  file_["pre_tokenizer"]["split"] = true;
  EXPECT_THAT(complaint(), HasSubstr("split"));
  take(golden_.at("cases").at(0));
  file_["model"]["ignore_merges"] = true;
  EXPECT_THAT(complaint(), HasSubstr("ignore_merges"));
  file_["model"]["ignore_merges"] = false;
  file_["model"]["merges"].push_back(Json::array({"<0x41>", "a"}));
  EXPECT_THAT(complaint(), HasSubstr("tokens of the vocabulary"));
  file_["model"]["merges"].erase(file_["model"]["merges"].size() - 1);
  file_["model"]["vocab"].erase("<0x41>");
  EXPECT_THAT(complaint(), HasSubstr("none for byte 65"));
}

}  // namespace
}  // namespace moe::text
