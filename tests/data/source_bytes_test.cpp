// SPDX-License-Identifier: MIT
// How many bytes a text's tokens have more than its source: with tokens that are the text's own bytes, and
// with a tokenizer that composes marks first (NFC), whose tokens are not.
#include "data/source_bytes.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/source_dir.h"
#include "text/load_tokenizer.h"
#include "text/open_tokenizer.h"

namespace moe::data {
namespace {

// The excess of all tokens; their ids stay what they were.
int64_t excess_in(const std::string& text, const text::Tokenizer& tokenizer) {
  std::vector<text::TokenId> ids = tokenizer.encode(text);
  const std::vector<text::TokenId> before = ids;
  mark_excess(text, ids, tokenizer);
  int64_t excess = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(id_of(ids[i]), before[i]);
    excess += excess_of(ids[i]);
  }
  return excess;
}

std::string repeated(const std::string& text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

// A byte that is no UTF-8 becomes U+FFFD: three bytes for one.
TEST(SourceBytes, EachReplacedByteCountsTwo) {
  const auto gpt2 = text::open_tokenizer("gpt2");
  EXPECT_EQ(excess_in("plain", *gpt2), 0);
  EXPECT_EQ(excess_in("a\xff b\xfe\xff", *gpt2), 6);
  EXPECT_EQ(excess_in(repeated("\xff", 5000), *gpt2), 10000);
}

TEST(SourceBytes, TokensOfAnotherFormCarryAllOfThem) {
  const auto nfc = text::load_tokenizer(test::source_dir() / "tests/golden/text/new.json");
  const std::string composed = repeated("e\xcc\x81", 50);  // e and a mark: 150 bytes, 100 as tokens
  EXPECT_EQ(excess_in(composed + "\xff", *nfc), 2);
  EXPECT_EQ(excess_in(composed + repeated("\xff ", 40) + composed, *nfc), 80);
  EXPECT_EQ(excess_in(repeated("\xe0\xa5\x98", 50) + "\xff", *nfc), 2);  // U+0958: 3 bytes, 6 in form C
}

// The space that SentencePiece puts in front counts. What no piece has does not, nor do its source's bytes.
TEST(SourceBytes, OfSentencePiece) {
  const std::string texts[] = {"",
                               "\xff",
                               "a\xff b\xfe\xff",
                               repeated("\xff", 5000),
                               "漢字\xe6\xbc x \xf0\x9f\x99",
                               "  two  \xc0\xaf ",
                               repeated("e\xcc\x81 ﬁ", 50) + "\xff",
                               std::string("\0\xff", 2)};
  for (const char* name : {"bpe", "bpe_bytes", "unigram", "unigram_bytes"}) {
    const auto tokenizer = text::open_tokenizer(
        (test::source_dir() / "tests/golden/text" / (std::string(name) + ".model")).string());
    for (const std::string& text : texts) {
      int64_t bytes = 0;
      for (const text::TokenId id : tokenizer->encode(text)) bytes += std::ssize(tokenizer->bytes(id));
      const int64_t left = bytes - excess_in(text, *tokenizer);
      EXPECT_GE(left, 0) << name;
      if (!std::string_view(name).ends_with("_bytes")) continue;
      EXPECT_EQ(left, text.empty() ? 0 : std::ssize(text) + 1) << name << ": " << text;
    }
  }
}

}  // namespace
}  // namespace moe::data
