// SPDX-License-Identifier: MIT
// Ids against tiktoken's and tokenizers', round trips, and texts that ruin careless tokenizers.
#include "text/gpt2_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <thread>

#include "base/random.h"
#include "base/utf8.h"
#include "text/texts.h"

namespace moe::text {
namespace {

using testing::ElementsAre;
using namespace std::string_literals;

const Tokenizer& tokenizer() {
  static const Gpt2Tokenizer instance;
  return instance;
}

std::vector<TokenId> encode(std::string_view text) {
  return tokenizer().encode(text);
}

std::string repeat(std::string_view part, size_t times) {
  std::string text;
  while (times-- > 0) text += part;
  return text;
}

// Made by tiktoken 0.14.0 and tokenizers 0.23.2, which agree.
TEST(Tokenizer, EncodesAsTiktokenDoes) {
  EXPECT_THAT(encode(""), ElementsAre());
  EXPECT_THAT(encode("Hello world"), ElementsAre(15496, 995));
  EXPECT_THAT(encode(" 's it's IT'S don't"), ElementsAre(705, 82, 340, 338, 7283, 6, 50, 836, 470));
  EXPECT_THAT(encode("  \n\n  x"), ElementsAre(220, 220, 628, 220, 2124));
  EXPECT_THAT(encode("naïve café 12345 ١٢٣"),
              ElementsAre(2616, 38776, 40304, 17031, 2231, 18923, 94, 149, 95, 149, 96));
  EXPECT_THAT(encode("\u3000\u00a0x\u0085y\ufeffz"),
              ElementsAre(5099, 222, 1849, 87, 126, 227, 88, 171, 119, 123, 89));
  EXPECT_THAT(encode("<|endoftext|>"), ElementsAre(27, 91, 437, 1659, 5239, 91, 29));
}

// A hundred kilobytes of scripts and traps: tools/make_tokenizer_goldens.py.
TEST(Tokenizer, EncodesTheGoldenTextAsTokenizersDoes) {
  const std::string bytes = test::golden_text("mixed.ids");
  std::vector<uint16_t> stored(bytes.size() / 2);
  std::memcpy(stored.data(), bytes.data(), bytes.size());
  const std::vector<TokenId> expected(stored.begin(), stored.end());
  const std::string text = test::golden_text("mixed.txt");
  ASSERT_GT(expected.size(), 10'000u);

  const std::vector<TokenId> ids = encode(text);
  const auto [ours, theirs] = std::mismatch(ids.begin(), ids.end(), expected.begin(), expected.end());
  const auto same = static_cast<size_t>(ours - ids.begin());
  EXPECT_EQ(ids.size(), expected.size());
  EXPECT_EQ(same, expected.size())
      << "first difference after: "
      << tokenizer().decode(std::span(ids).subspan(same - std::min<size_t>(same, 20)).first(20));
}

TEST(Tokenizer, CacheAndCallsDoNotChangeIds) {
  const std::string text = test::golden_text("mixed.txt");
  const std::vector<TokenId> cold = encode(text);
  const auto encoder = tokenizer().encoder();
  std::vector<TokenId> warm, appended = {7};
  encoder->encode(text, warm);
  encoder->encode(text, appended);
  EXPECT_EQ(warm, cold);
  ASSERT_EQ(appended.size(), cold.size() + 1);
  EXPECT_EQ(appended.front(), 7);
  EXPECT_TRUE(std::equal(cold.begin(), cold.end(), appended.begin() + 1));
}

// A text that ends anywhere, in a buffer that ends there too (the sanitizer sees reads past it).
TEST(Tokenizer, EveryPrefixRoundTrips) {
  const std::string text = test::golden_text("mixed.txt").substr(0, 700);
  const auto encoder = tokenizer().encoder();
  for (size_t size = 0; size <= text.size(); ++size) {
    const std::vector<char> exact(text.begin(), text.begin() + static_cast<ptrdiff_t>(size));
    std::vector<TokenId> ids;
    const std::string_view prefix(exact.data(), size);
    encoder->encode(prefix, ids);
    std::string expected;
    repair_utf8(prefix, expected);
    ASSERT_EQ(tokenizer().decode(ids), expected);
  }
}

TEST(Tokenizer, RandomBytesRoundTripAfterRepair) {
  const Random random(3, "bytes");
  const auto encoder = tokenizer().encoder();
  uint64_t replaced = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    const std::string text = test::random_text(random, i);
    std::vector<TokenId> ids;
    encoder->encode(text, ids);
    std::string expected;
    replaced += repair_utf8(text, expected);
    ASSERT_EQ(tokenizer().decode(ids), expected);
    for (const TokenId id : ids) ASSERT_TRUE(id >= 0 && id < Gpt2Tokenizer::kEndOfText);
  }
  EXPECT_GT(replaced, 0u);
  EXPECT_EQ(encoder->replaced(), replaced);
}

TEST(Tokenizer, ReplacesBrokenUtf8) {
  EXPECT_EQ(encode("caf\xE9 x\xF0\x9F\x98"), encode("caf\uFFFD x\uFFFD"));
}

struct Pathology {
  std::string part;
  size_t times, tokens;
};

// One pre-token of up to a megabyte. Counts by tiktoken.
TEST(Tokenizer, LongRunsAreNotQuadratic) {
  const std::clock_t start = std::clock();
  const Pathology pathologies[] = {
      {"a", 1'000'000, 250'000}, {" ", 1'000'000, 1'000'000}, {"=", 100'000, 1'563}, {"\n", 100'000, 50'000}};
  for (const Pathology& pathology : pathologies) {
    const std::string text = repeat(pathology.part, pathology.times);
    const std::vector<TokenId> ids = encode(text);
    EXPECT_EQ(ids.size(), pathology.tokens) << pathology.part;
    EXPECT_EQ(tokenizer().decode(ids), text);
  }
  // A search of all pairs for each merge would take minutes; this bound leaves room for sanitizers.
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 10.0);
}

TEST(Tokenizer, DecodesOnlyTokens) {
  EXPECT_EQ(tokenizer().bytes(995), " world");
  EXPECT_EQ(tokenizer().bytes(Gpt2Tokenizer::kEndOfText), "");
  EXPECT_EQ(tokenizer().bytes(-1), "");
  EXPECT_EQ(tokenizer().decode(std::vector<TokenId>{15496, 50256, 50257, 50303, -1, 995}), "Hello world");
}

// GPT-2's ids are in checkpoints and token files: they never change.
TEST(Tokenizer, FingerprintIsThatOfTheVocabulary) {
  EXPECT_EQ(tokenizer().fingerprint(), 0xb5daa9c4c3d6b2c2u);
  std::vector<std::string> tokens;
  for (TokenId id = 0; id < tokenizer().vocabulary(); ++id) tokens.emplace_back(tokenizer().bytes(id));
  EXPECT_EQ(fingerprint_of(tokenizer().facts(), tokens, ""), tokenizer().fingerprint());
  tokens[7] = "another";
  EXPECT_NE(fingerprint_of(tokenizer().facts(), tokens, ""), tokenizer().fingerprint());
  EXPECT_EQ(fingerprint_text(tokenizer().fingerprint()), "b5daa9c4c3d6b2c2");
  EXPECT_EQ(fingerprint_text(7), "0000000000000007");
}

TEST(Tokenizer, ThreadsShareOne) {
  const std::string text = test::golden_text("mixed.txt").substr(0, 20'000);
  const std::vector<TokenId> expected = encode(text);
  std::vector<std::vector<TokenId>> results(4);
  {
    std::vector<std::jthread> threads;
    for (auto& result : results) threads.emplace_back([&] { result = encode(text); });
  }
  for (const auto& result : results) EXPECT_EQ(result, expected);
}

}  // namespace
}  // namespace moe::text
