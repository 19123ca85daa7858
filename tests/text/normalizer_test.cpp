// SPDX-License-Identifier: MIT
// Normal forms: ids against those of `tokenizers` (tools/make_tokenizer_file_goldens.py --normalizers).
#include "text/normalizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "support/errors.h"
#include "text/texts.h"
#include "text/tokenizer_json.h"

namespace moe::text {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string normalized(std::vector<NormalStep> steps, std::string_view text) {
  const Normalizer normalizer("f", std::move(steps));
  Normalizer::Pass pass(normalizer);
  pass.apply("what came before, which may be longer");
  return std::string(pass.apply(text));
}

TEST(Normalizer, TextBecomesWhatItBecomesInTokenizers) {
  Json model = parse_json("golden", test::golden_text("old.json"));
  for (auto& token : model["added_tokens"]) token["special"] = true;  // runs of spaces are not sought
  const Json golden = parse_json("golden", test::golden_text("normalizers.json"));
  for (const Json& one : golden.at("cases")) {
    model["normalizer"] = one.at("normalizer");
    const BytePairTokenizer tokenizer(read_tokenizer_json("f", model.dump(), {}));
    for (size_t i = 0; i < golden.at("texts").size(); ++i) {
      EXPECT_EQ(tokenizer.encode(golden.at("texts")[i].get<std::string>()),
                one.at("ids")[i].get<std::vector<TokenId>>())
          << one.at("normalizer").dump() << " of text " << i;
    }
  }
}

TEST(Normalizer, StepsFollowOneAnother) {
  EXPECT_EQ(normalized({}, "as it is "), "as it is ");
  EXPECT_EQ(normalized({Strip{}, Prepend{"> "}, Lowercase{}}, "\t Ä \n"), "> ä");
  EXPECT_EQ(normalized({Strip{}, Prepend{"> "}}, " \n"), "");
  EXPECT_EQ(normalized({Replace{false, "ab", "b"}, Replace{false, "ab", "b"}}, "aab"), "b");
  EXPECT_EQ(normalized({UnicodeForm::nfkd, StripAccents{}, UnicodeForm::nfc}, "ﬁancée"), "fiancee");
  EXPECT_EQ(normalized({Replace{true, "(a)(b)", "\\2$1"}}, "xaby"), "x\\2$1y");  // no groups in the content
}

TEST(Normalizer, AllStepsAreInTheDescription) {
  const auto description = [](std::vector<NormalStep> steps) {
    return Normalizer("f", std::move(steps)).description();
  };
  EXPECT_EQ(description({UnicodeForm::nfc}), " nfc");  // of runs that began when there was no other form
  EXPECT_NE(description({Strip{true, false}}), description({Strip{false, true}}));
  EXPECT_NE(description({Replace{false, "a", "b"}}), description({Replace{true, "a", "b"}}));
  EXPECT_NE(description({Lowercase{}, StripAccents{}}), description({StripAccents{}, Lowercase{}}));
}

TEST(Normalizer, WhatMakesTextEndlessIsRefused) {
  const auto complaint = [](std::vector<NormalStep> steps) {
    return test::user_error_of([&] { Normalizer("f", std::move(steps)); });
  };
  EXPECT_THAT(complaint(std::vector<NormalStep>(17, Lowercase{})),
              StartsWith("f: expected at most 16 steps, found 17"));
  EXPECT_THAT(complaint({Replace{false, "a", std::string(65, 'x')}}), HasSubstr("at most 64 times as long"));
  EXPECT_THAT(complaint({Replace{false, "a", std::string(9, 'a')}, Replace{true, "a", std::string(8, 'a')}}),
              HasSubstr("at most 64 times as long"));
  EXPECT_THAT(complaint({Prepend{std::string(257, 'x')}}), HasSubstr("at most 256 bytes in front of a text"));
  EXPECT_THAT(complaint({Replace{false, "", "x"}}), HasSubstr("a text of at least one byte to replace"));
  EXPECT_THAT(complaint({Replace{true, "(", "x"}}), StartsWith("f: expected a regular expression"));
}

TEST(Normalizer, OfCanonicalFormsAloneWhiteSpaceIsKept) {
  const auto keeps = [](std::vector<NormalStep> steps) {
    return Normalizer("f", std::move(steps)).keeps_white();
  };
  EXPECT_TRUE(keeps({UnicodeForm::nfc, UnicodeForm::nfd}));
  EXPECT_FALSE(keeps({UnicodeForm::nfkc}));  // of U+00A0 it makes a space
  EXPECT_FALSE(keeps({UnicodeForm::nfc, Strip{}}));
}

}  // namespace
}  // namespace moe::text
