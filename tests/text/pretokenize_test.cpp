// SPDX-License-Identifier: MIT
// The cuts, in words. That they hold for all of Unicode and at every offset is for the golden ids to say.
#include "text/pretokenize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace moe::text {
namespace {

using testing::ElementsAre;

std::vector<std::string> pieces(std::string_view text) {
  std::vector<std::string> result;
  Pretokenizer pretokenizer(text);
  size_t begin = 0;
  for (auto ends = pretokenizer.next(); !ends.empty(); ends = pretokenizer.next()) {
    EXPECT_LE(ends.size(), Pretokenizer::kMaxBatch);
    for (const size_t end : ends) {
      EXPECT_LT(begin, end);
      result.emplace_back(text.substr(begin, end - begin));
      begin = end;
    }
  }
  EXPECT_EQ(begin, text.size());
  return result;
}

TEST(Pretokenizer, CutsLettersNumbersAndTheRest) {
  EXPECT_THAT(pieces(""), ElementsAre());
  EXPECT_THAT(pieces("Hello world"), ElementsAre("Hello", " world"));
  EXPECT_THAT(pieces("x86, 3.14!?"), ElementsAre("x", "86", ",", " 3", ".", "14", "!?"));
  EXPECT_THAT(pieces("naïve ½² ١٢ Ⅻ"), ElementsAre("naïve", " ½²", " ١٢", " Ⅻ"));
  EXPECT_THAT(pieces("e\u0301a"), ElementsAre("e", "\u0301", "a"));  // a combining mark is no letter
}

TEST(Pretokenizer, OnlyASpaceJoinsWhatFollows) {
  EXPECT_THAT(pieces("a  b"), ElementsAre("a", " ", " b"));
  EXPECT_THAT(pieces("a \n\nb"), ElementsAre("a", " \n", "\n", "b"));
  EXPECT_THAT(pieces("a\t b\t\tc"), ElementsAre("a", "\t", " b", "\t", "\t", "c"));
  EXPECT_THAT(pieces("a\u3000\u3000b\u00a0c"), ElementsAre("a", "\u3000", "\u3000", "b", "\u00a0", "c"));
  EXPECT_THAT(pieces("a \n "), ElementsAre("a", " \n "));  // nothing follows: one piece
}

TEST(Pretokenizer, CutsContractions) {
  EXPECT_THAT(pieces("I'll we'd they'reb"), ElementsAre("I", "'ll", " we", "'d", " they", "'re", "b"));
  EXPECT_THAT(pieces(" 's IT'S ''s"), ElementsAre(" '", "s", " IT", "'", "S", " ''", "s"));
  EXPECT_THAT(pieces("a's't'lx'"), ElementsAre("a", "'s", "'t", "'", "lx", "'"));
}

// The scanner goes by blocks of 64 bytes; each trap must meet the border of one at each of its bytes.
TEST(Pretokenizer, CutsAreTheSameAtEveryOffset) {
  for (size_t pad = 1; pad < 130; ++pad) {
    const std::string line(pad, 'y');
    ASSERT_THAT(pieces(line + "\nI'llx\u3000\u3000we'd  \u2003é'sat 12\t\u00a0'Re"),
                ElementsAre(line, "\n", "I", "'ll", "x", "\u3000", "\u3000", "we", "'d", "  ", "\u2003", "é",
                            "'s", "at", " 12", "\t", "\u00a0", "'", "Re"));
  }
}

TEST(Pretokenizer, BatchesAreBounded) {
  for (size_t size = 0; size < 1000; ++size) {
    std::string text(size, 'a');
    for (size_t i = 1; i < size; i += 2) text[i] = '1';
    ASSERT_EQ(pieces(text).size(), size);
  }
}

}  // namespace
}  // namespace moe::text
