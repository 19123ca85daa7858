// SPDX-License-Identifier: MIT
// Pre-tokenizers that are no known pattern: ids against those of `tokenizers`
// (tools/make_tokenizer_file_goldens.py), and patterns that take too long.
#include "text/split_steps.h"

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

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> pieces(const SplitSteps& steps, std::string_view text) {
  std::vector<std::string> result;
  size_t begin = 0;
  const auto cutter = steps.cutter(text);
  for (auto ends = cutter->next(); !ends.empty(); ends = cutter->next()) {
    EXPECT_LE(ends.size(), Cutter::kMaxBatch);
    for (const size_t end : ends) {
      result.emplace_back(text.substr(begin, end - begin));
      begin = end;
    }
  }
  EXPECT_EQ(begin, text.size());
  return result;
}

std::vector<std::string> pieces(std::vector<SplitStep> steps, std::string_view text) {
  return pieces(SplitSteps("f", std::move(steps)), text);
}

TEST(SplitSteps, EncodeAsTokenizersDoes) {
  Json model = parse_json("golden", test::golden_text("old.json"));
  for (auto& token : model["added_tokens"]) token["special"] = true;  // runs of spaces are not sought
  const Json golden = parse_json("golden", test::golden_text("steps.json"));
  const auto text = golden.at("text").get<std::string>();
  for (const Json& one : golden.at("cases")) {
    model["pre_tokenizer"] = one.at("pre_tokenizer");
    const BytePairTokenizer tokenizer(read_tokenizer_json("f", model.dump(), {}));
    EXPECT_EQ(tokenizer.encode(text), one.at("ids").get<std::vector<TokenId>>())
        << one.at("pre_tokenizer").dump();
  }
}

TEST(SplitSteps, CutAsTheirBehaviorSays) {
  const auto cut = [](SplitBehavior behavior, bool invert) {
    return pieces({{.by = SplitStep::By::text, .pattern = "-", .behavior = behavior, .invert = invert}},
                  "a-b--c-");
  };
  EXPECT_THAT(cut(SplitBehavior::isolated, false), ElementsAre("a", "-", "b", "-", "-", "c", "-"));
  EXPECT_THAT(cut(SplitBehavior::contiguous, false), ElementsAre("a", "-", "b", "--", "c", "-"));
  EXPECT_THAT(cut(SplitBehavior::merged_with_previous, false), ElementsAre("a-", "b-", "-", "c-"));
  EXPECT_THAT(cut(SplitBehavior::merged_with_next, false), ElementsAre("a", "-b", "-", "-c", "-"));
  EXPECT_THAT(cut(SplitBehavior::merged_with_next, true), ElementsAre("a-", "b-", "-", "c-"));
}

TEST(SplitSteps, CutFurtherWhatTheOnesBeforeLeft) {
  const std::vector<SplitStep> steps{{.pattern = R"(\p{L}+)"}, {.by = SplitStep::By::number}};
  EXPECT_THAT(pieces(steps, "ab12 漢٣"), ElementsAre("ab", "1", "2", " ", "漢", "٣"));
  EXPECT_THAT(pieces(std::vector<SplitStep>{}, "a b"), ElementsAre("a b"));
  // Each step sees its piece alone: there is nothing in front of the b.
  EXPECT_THAT(pieces({{.pattern = "a"}, {.pattern = "(?<=a)b"}}, "abc"), ElementsAre("a", "bc"));
  EXPECT_EQ(pieces({{.pattern = "."}}, std::string(1000, 'x')).size(), 1000U);
}

// The second is of Unicode 16, which is newer than many an Oniguruma.
TEST(SplitSteps, KnowNewLetters) {
  EXPECT_THAT(pieces({{.pattern = R"(\p{L}+)"}}, "a\U00010D4A\U000105C0!"),
              ElementsAre("a\U00010D4A\U000105C0", "!"));
}

TEST(SplitSteps, RefusePatternsThatAreNone) {
  const auto said = [](const SplitStep& step) {
    return test::user_error_of([&] { SplitSteps("f", {step}); });
  };
  EXPECT_EQ(said({.pattern = "(a"}),
            "f: expected a regular expression in Oniguruma's syntax, found end pattern with unmatched "
            "parenthesis. Hint: docs/tokenizers.md says what is read");
  EXPECT_THAT(said({.pattern = "\\p{Nonsense}"}), HasSubstr("invalid character property name"));
  EXPECT_THAT(said({.pattern = "\xff"}), HasSubstr("bytes of UTF-8"));
  EXPECT_THAT(said({.pattern = std::string(70'000, 'a')}), HasSubstr("at most 65536 bytes"));
  EXPECT_THAT(said({.by = SplitStep::By::text, .pattern = ""}), HasSubstr("at least one byte"));
  EXPECT_THAT(test::user_error_of([] { SplitSteps("f", std::vector<SplitStep>(17)); }),
              HasSubstr("at most 16 steps, found 17"));
}

TEST(SplitSteps, PatternsThatTakeTooLongAreAnError) {
  const auto said = [](const std::string& pattern, const std::string& text) {
    return test::user_error_of([&] { pieces({{.pattern = pattern}}, text); });
  };
  EXPECT_THAT(said("(a|aa)+$", std::string(60, 'a') + "b"),
              HasSubstr("f: expected a pattern that finds its next match in ten million steps, found "
                        "retry-limit-in-match over behind byte 0 of a text"));
  EXPECT_THAT(said("(?:a|b)+c", std::string(100'000, 'a')), HasSubstr("retry-limit-in-search over"));
  // It looks to the end of the text at each place.
  EXPECT_THAT(said("(?=.*b)a|a", std::string(100'000, 'a')),
              HasSubstr("f: expected a pattern that takes less than ten seconds for a megabyte"));
  EXPECT_EQ(said(R"(\s+(?!\S)|\s+|\S+)", std::string(300'000, ' ') + "a"), "");
}

TEST(SplitSteps, TheirDescriptionTellsThemApart) {
  const auto description = [](const SplitStep& step) { return SplitSteps("f", {step}).description(); };
  const std::string plain = description({.pattern = "a"});
  EXPECT_EQ(plain, description({.pattern = "a"}));
  EXPECT_NE(plain, description({.pattern = "b"}));
  EXPECT_NE(plain, description({.by = SplitStep::By::text, .pattern = "a"}));
  EXPECT_NE(plain, description({.pattern = "a", .behavior = SplitBehavior::contiguous}));
  EXPECT_NE(plain, description({.pattern = "a", .invert = true}));
}

}  // namespace
}  // namespace moe::text
