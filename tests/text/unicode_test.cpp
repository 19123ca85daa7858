// SPDX-License-Identifier: MIT
// The class table against the hash of Unicode 16.0's, as tiktoken and tokenizers have it.
#include "text/unicode.h"

#include <gtest/gtest.h>

#include "support/sha256.h"

namespace moe::text {
namespace {

TEST(UnicodeClasses, AreThoseOfUnicode16) {
  const UnicodeClasses& classes = UnicodeClasses::instance();
  std::string all;
  for (char32_t c = 0; c < 0x110000; ++c) all.push_back(static_cast<char>(classes(c)));
  EXPECT_EQ(test::sha256(all), "39d0d78dd90139da170eedcf07985b1ff81b7df7a08bed3daae31bc0b24727c3");
}

// What GPT-2's pattern sees: other, letter, number, white space.
TEST(UnicodeClasses, AreThoseOfGpt2) {
  const UnicodeClasses& classes = UnicodeClasses::instance();
  std::string all;
  for (char32_t c = 0; c < 0x110000; ++c) {
    const CharacterClasses set = classes_of(classes(c));
    all.push_back((set & kLetters) != 0 ? 1 : (set & kNumbers) != 0 ? 2 : (set & kWhite) != 0 ? 3 : 0);
  }
  EXPECT_EQ(test::sha256(all), "ba830e7f669dd0fcc40141409e2c8be621eead74b1d0d659dc89185f117d69c8");
}

}  // namespace
}  // namespace moe::text
