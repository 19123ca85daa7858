// SPDX-License-Identifier: MIT
// The class table against the hash of Unicode 16.0's, as tiktoken and tokenizers have it.
#include "text/unicode.h"

#include <gtest/gtest.h>

#include "text/sha256.h"

namespace moe {
namespace {

TEST(Sha256, PublishedVectors) {
  EXPECT_EQ(test::sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(test::sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(UnicodeClasses, AreThoseOfUnicode16) {
  const UnicodeClasses& classes = UnicodeClasses::instance();
  std::string all;
  for (char32_t c = 0; c < 0x110000; ++c) all.push_back(static_cast<char>(classes(c)));
  EXPECT_EQ(test::sha256(all), "ba830e7f669dd0fcc40141409e2c8be621eead74b1d0d659dc89185f117d69c8");
}

}  // namespace
}  // namespace moe
