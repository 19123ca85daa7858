// SPDX-License-Identifier: MIT
// The merges inside the program, the vocabulary they make, and the perfect hash over them.
#include "text/vocabulary.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "base/random.h"
#include "support/sha256.h"
#include "text/bpe.h"
#include "text/merge_table.h"
#include "text/pair_table.h"

namespace moe::text {
namespace {

const Vocabulary& gpt2() {
  static const Vocabulary vocabulary(gpt2_merges());
  return vocabulary;
}

TEST(Vocabulary, HoldsTheFileThatTiktokenExpects) {
  EXPECT_EQ(test::sha256(gpt2_merges()), "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5");
}

TEST(Vocabulary, NumbersTokensAsGpt2Does) {
  EXPECT_EQ(gpt2().size(), 50256);
  EXPECT_EQ(gpt2().merges().size(), 50000u);
  EXPECT_EQ(gpt2().bytes(0), "!");
  EXPECT_EQ(gpt2().bytes(198), "\n");
  EXPECT_EQ(gpt2().bytes(220), " ");
  EXPECT_EQ(gpt2().bytes(256), " t");
  EXPECT_EQ(gpt2().bytes(50255), " gazed");
  for (int byte = 0; byte < 256; ++byte) {
    const std::string expected(1, static_cast<char>(byte));
    EXPECT_EQ(gpt2().bytes(gpt2().of_byte()[static_cast<size_t>(byte)]), expected);
  }
}

TEST(Vocabulary, RefusesBrokenMerges) {
  EXPECT_THROW(Vocabulary("#version: 0.2\na b"), InternalError);     // cut short
  EXPECT_THROW(Vocabulary("#version: 0.2\nab c\n"), InternalError);  // no such token yet
  EXPECT_THROW(Vocabulary("#version: 0.2\na b\na b\n"), InternalError);
}

TEST(MergeTable, FindsAllMergesAndNothingElse) {
  std::map<std::pair<uint16_t, uint16_t>, uint16_t> expected;
  for (const Merge& merge : gpt2().merges()) {
    const auto id = static_cast<uint16_t>(256 + expected.size());
    expected[{merge.left, merge.right}] = id;
  }
  const MergeTable table(gpt2().merges(), 256);
  const auto check = [&](uint16_t left, uint16_t right) {
    const auto found = expected.find({left, right});
    const uint16_t id = found == expected.end() ? MergeTable::kNone : found->second;
    if (table.find(left, right) != id) ADD_FAILURE() << left << " " << right;
  };
  for (const Merge& merge : gpt2().merges()) {
    check(merge.left, merge.right);
    check(merge.right, merge.left);
    check(merge.left, static_cast<uint16_t>(merge.right + 1));
    check(MergeTable::kNone, merge.right);
    check(merge.left, MergeTable::kNone);
  }
  const Random random(1, "pairs");
  for (uint64_t i = 0; i < 500'000; ++i) {
    const uint64_t bits = random.bits(i);
    check(static_cast<uint16_t>(bits), static_cast<uint16_t>(bits >> 16));
  }
}

TEST(PairTable, FindsAllMergesAndNothingElse) {
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> expected;
  PairTable table(gpt2().merges().size() + 1);
  for (const Merge& merge : gpt2().merges()) {
    const auto rank = static_cast<uint32_t>(expected.size());
    expected[{merge.left, merge.right}] = rank;
    EXPECT_TRUE(table.add({merge.left, merge.right, static_cast<TokenId>(2 * rank)}));
    EXPECT_FALSE(table.add({merge.left, merge.right, 0}));
  }
  constexpr TokenId kLast = PairTable::kNoToken - 1;
  EXPECT_TRUE(table.add({kLast, kLast, 7}));
  expected[{kLast, kLast}] = static_cast<uint32_t>(gpt2().merges().size());
  const auto check = [&](uint32_t left, uint32_t right) {
    const auto found = expected.find({left, right});
    const uint32_t rank = found == expected.end() ? PairTable::kNone : found->second;
    if (table.find(left, right) != rank) ADD_FAILURE() << left << " " << right;
  };
  for (const Merge& merge : gpt2().merges()) {
    check(merge.left, merge.right);
    check(merge.right, merge.left);
    check(PairTable::kNoToken, merge.right);
    check(merge.left, PairTable::kNoToken);
  }
  check(kLast, kLast);
  check(PairTable::kNoToken, PairTable::kNoToken);
  EXPECT_EQ(table.result(table.find(gpt2().merges()[21].left, gpt2().merges()[21].right)), 42u);
  const Random random(1, "pairs");
  for (uint64_t i = 0; i < 500'000; ++i) {
    check(static_cast<uint32_t>(random.below(2 * i, 60'000)),
          static_cast<uint32_t>(random.below(2 * i + 1, 60'000)));
  }
}

// tiktoken looks a whole pre-token up first; here it is merged. The same only if every token merges to
// itself.
TEST(BytePairEncoder, MergesEveryTokenToItself) {
  const BytePairEncoder<MergeTable> encoder(gpt2().of_byte(), MergeTable(gpt2().merges(), 256));
  BytePairScratch scratch;
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < gpt2().size(); ++id) {
    ids.clear();
    encoder.encode(gpt2().bytes(id), ids, scratch);
    ASSERT_EQ(ids, std::vector<int32_t>{id});
  }
}

}  // namespace
}  // namespace moe::text
