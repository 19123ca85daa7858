// SPDX-License-Identifier: MIT
// Repair of ill-formed UTF-8 against the Unicode Standard's own examples and against Python's decoder.
#include "base/utf8.h"

#include <gtest/gtest.h>

#include "support/sha256.h"

namespace moe {
namespace {

using namespace std::string_literals;

const std::string kReplacement = "\xEF\xBF\xBD";

struct Repaired {
  std::string text;
  uint64_t count;
};

Repaired repair(const std::string& text) {
  Repaired result;
  result.count = repair_utf8(text, result.text);
  return result;
}

TEST(Utf8, RepairsTheStandardsExamples) {
  const std::string r = kReplacement;
  // Unicode 16.0, tables 3-8 to 3-11.
  EXPECT_EQ(repair("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"s).text, r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(repair("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"s).text, r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(repair("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"s).text, r + r + r + r + r + "A" + r + r + "B");
  EXPECT_EQ(repair("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"s).text, r + r + r + r + "A");
}

TEST(Utf8, LeavesGoodTextAlone) {
  const std::string text =
      "plain \xC2\x80 \xDF\xBF \xE0\xA0\x80 \xED\x9F\xBF \xEF\xBF\xBF \xF0\x90\x80\x80 \xF4\x8F\xBF\xBF \0 end"s;
  EXPECT_EQ(well_formed_prefix(text), text.size());
  EXPECT_EQ(repair(text).text, text);
  EXPECT_EQ(repair(text).count, 0u);
}

TEST(Utf8, FindsTheFirstFaultAnywhere) {
  for (size_t at = 0; at < 200; ++at) {
    const std::string text = std::string(at, 'x') + "\xFF" + std::string(100, 'y');
    ASSERT_EQ(well_formed_prefix(text), at);
    ASSERT_EQ(repair(text).text, std::string(at, 'x') + kReplacement + std::string(100, 'y'));
  }
}

// Every string of four from the 24 bytes that stand at a border of table 3-7, each at the end of a text: what
// Python's bytes.decode("utf-8", "replace") makes of them (tools/make_tokenizer_goldens.py prints the hash).
TEST(Utf8, RepairsAsPythonDoes) {
  const std::string borders =
      "\x00\x61\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf4\xf5\xff"s;
  std::string all, repaired;
  for (const char a : borders) {
    for (const char b : borders) {
      for (const char c : borders) {
        for (const char d : borders) {
          repair_utf8(std::string{a, b, c, d}, repaired);
          all += repaired + "\n";
        }
      }
    }
  }
  EXPECT_EQ(test::sha256(all), "86ee464c2856a870baa9d94633dc66062c55f5a85fa055a08edf18ce351815c8");
}

TEST(Utf8, EveryCodePointComesBack) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;  // surrogates are none
    std::string text;
    append_utf8(text, c);
    ASSERT_EQ(well_formed_prefix(text), text.size()) << static_cast<uint32_t>(c);
    const CodePoint read = decode_utf8(text.data());
    ASSERT_EQ(read.value, c);
    ASSERT_EQ(static_cast<size_t>(read.length), text.size());
    for (size_t i = 0; i < text.size(); ++i) ASSERT_EQ(is_continuation(text[i]), i > 0);
  }
}

// Cut anywhere, a text has a begun character at its end, or none; bytes that no character begins with are
// whole.
TEST(Utf8, KnowsABegunCharacter) {
  const std::string text = "a\xC2\xA9\xE2\x82\xAC\xF0\x9F\x99\x82"s;
  const std::string begun = "00101201230";
  for (size_t size = 0; size <= text.size(); ++size)
    EXPECT_EQ(begun_utf8(std::string_view(text).substr(0, size)), static_cast<size_t>(begun[size] - '0'))
        << size;
  for (const char* whole : {"\xFF", "\x80", "\x80\x80\x80\x80", "\xC0", "\xE0\x80", "\xED\xA0", "\xF4\x90"})
    EXPECT_EQ(begun_utf8(whole), 0U) << whole;
}

}  // namespace
}  // namespace moe
