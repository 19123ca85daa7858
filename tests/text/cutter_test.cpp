// SPDX-License-Identifier: MIT
// Each pattern's cuts against regular expressions run by others: tools/make_tokenizer_file_goldens.py.
#include "text/cutter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "text/texts.h"

namespace moe::text {
namespace {

using testing::ElementsAre;

std::vector<size_t> cuts(SplitPattern pattern, std::string_view text) {
  std::vector<size_t> result;
  const auto cutter = make_cutter(pattern, text);
  for (auto ends = cutter->next(); !ends.empty(); ends = cutter->next()) {
    EXPECT_LE(ends.size(), Cutter::kMaxBatch);
    result.insert(result.end(), ends.begin(), ends.end());
  }
  return result;
}

std::vector<std::string> pieces(SplitPattern pattern, std::string_view text) {
  std::vector<std::string> result;
  size_t begin = 0;
  for (const size_t end : cuts(pattern, text)) {
    result.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return result;
}

TEST(Cutter, CutsAsTheRegularExpressions) {
  const std::string text = test::golden_text("cuts.txt");
  for (const auto& choice : choices_of(SplitPattern())) {
    std::vector<size_t> expected;
    size_t end = 0;
    for (const char byte : test::golden_text("cuts." + std::string(choice.name))) {
      const auto length = static_cast<uint8_t>(byte);
      end += length;
      if (length != 255) expected.push_back(end);
    }
    const std::vector<size_t> found = cuts(choice.value, text);
    const auto [ours, theirs] = std::mismatch(found.begin(), found.end(), expected.begin(), expected.end());
    const size_t before = ours == found.begin() ? 0 : *(ours - 1);
    EXPECT_TRUE(found == expected) << choice.name << " differs first behind byte " << before << ": "
                                   << text.substr(before, 30);
  }
}

TEST(Cutter, KnowsWords) {
  EXPECT_THAT(pieces(SplitPattern::llama3, "I'M 12345!\n\n x"),
              ElementsAre("I", "'M", " ", "123", "45", "!\n\n", " x"));
  EXPECT_THAT(pieces(SplitPattern::qwen, "(a)12\t b"), ElementsAre("(a", ")", "1", "2", "\t", " b"));
  EXPECT_THAT(pieces(SplitPattern::cl100k, "a\n  "), ElementsAre("a", "\n  "));
  EXPECT_THAT(pieces(SplitPattern::llama3, "a\n  "), ElementsAre("a", "\n", "  "));
  EXPECT_THAT(pieces(SplitPattern::o200k, "HTMLParser isn't//\n/"),
              ElementsAre("HTMLParser", " isn't", "//\n/"));
  EXPECT_THAT(pieces(SplitPattern::o200k, "iPhone ABC"), ElementsAre("i", "Phone", " ABC"));
  EXPECT_THAT(pieces(SplitPattern::tekken, "don't 42"), ElementsAre("don", "'t", " ", "4", "2"));
  EXPECT_THAT(pieces(SplitPattern::deepseek3, "a  1漢字.x"), ElementsAre("a", "  ", "1", "漢字", ".x"));
  EXPECT_THAT(pieces(SplitPattern::gpt2_digits, " x12  y"), ElementsAre(" x", "1", "2", " ", " y"));
  EXPECT_THAT(pieces(SplitPattern::llama3, "'\u017Fa"), ElementsAre("'\u017F", "a"));  // a long s is an s
}

TEST(Cutter, BatchesEndAnywhere) {
  for (const auto& choice : choices_of(SplitPattern())) {
    for (size_t size = 0; size < 500; ++size) {
      std::string text(size, 'a');
      for (size_t i = 1; i < size; i += 2) text[i] = '1';
      ASSERT_EQ(cuts(choice.value, text).size(), size) << choice.name;
    }
  }
}

TEST(SplitPattern, IsFoundByItsText) {
  const auto find = [](const std::vector<std::string>& regexes) { return find_pattern(regexes); };
  EXPECT_EQ(find({std::string(kGpt2Regex)}), SplitPattern::gpt2);
  EXPECT_EQ(find({R"(\p{N})", std::string(kGpt2Regex)}), SplitPattern::gpt2_digits);
  EXPECT_EQ(find({}), std::nullopt);
  EXPECT_EQ(find({std::string(kGpt2Regex) + "|x"}), std::nullopt);
  EXPECT_EQ(
      find({"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\r\n]*|"
            "\\s*[\r\n]+|\\s+(?!\\S)|\\s+"}),
      SplitPattern::qwen);
}

}  // namespace
}  // namespace moe::text
