// SPDX-License-Identifier: MIT
// What a BPE learns from a text, against the merges of Hugging Face `tokenizers`
// (tools/make_tokenizer_file_goldens.py), and that it reads back.
#include "text/train_bpe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/lines.h"
#include "support/folder.h"
#include "text/byte_alphabet.h"
#include "text/load_tokenizer.h"
#include "text/texts.h"
#include "text/write_tokenizer_json.h"

namespace moe::text {
namespace {

using testing::ElementsAre;

std::vector<std::string> merges_of(const BytePairModel& model) {
  std::array<std::string, 256> spelling;
  for (const ByteCharacter& one : byte_characters()) spelling[one.byte] = one.character;
  const auto spelled = [&](TokenId id) {
    std::string text;
    for (const char byte : model.tokens[static_cast<size_t>(id)])
      text += spelling[static_cast<unsigned char>(byte)];
    return text;
  };
  std::vector<std::string> lines;
  for (const PairMerge& merge : model.merges.merges())
    lines.push_back(spelled(merge.left) + ' ' + spelled(merge.right));
  return lines;
}

BytePairModel learnt(std::string_view text, SplitPattern pattern, TokenId vocabulary) {
  PieceCounts pieces(pattern);
  pieces.add(text);
  return train_bpe(pieces, vocabulary, "<|endoftext|>");
}

TEST(TrainBpe, MergesAreThoseOfTokenizers) {
  const std::string text = test::golden_text("cuts.txt");
  for (const SplitPattern pattern : {SplitPattern::gpt2, SplitPattern::o200k}) {
    const std::string golden = test::golden_text("merges." + std::string(name_of(pattern)));
    std::vector<std::string> expected;
    for (std::string_view rest = golden; !rest.empty();) expected.emplace_back(take_line(rest));
    const BytePairModel model = learnt(text, pattern, 1200);
    EXPECT_GT(expected.size(), 800u);
    EXPECT_THAT(merges_of(model), testing::ElementsAreArray(expected)) << name_of(pattern);
    EXPECT_EQ(model.tokens.size(), expected.size() + 257);
    EXPECT_EQ(model.end_of_text, std::ssize(model.tokens) - 1);
  }
}

TEST(TrainBpe, ReadsBack) {
  const test::TestFolder folder;
  const std::string text = test::golden_text("cuts.txt");
  folder.put("tokenizer.json", write_tokenizer_json(learnt(text, SplitPattern::qwen, 900)));
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_EQ(tokenizer->vocabulary(), 900);
  const std::vector<TokenId> ids = tokenizer->encode(text);
  EXPECT_EQ(tokenizer->decode(ids), text);
  EXPECT_LT(ids.size(), text.size() / 2);
}

TEST(TrainBpe, TiesAndOverlaps) {
  // (a, a) five times in "aaaa" and "aaa"; then X X and X a once each: the pair of lower ids goes first.
  EXPECT_THAT(merges_of(learnt("aaaa\naaa\n", SplitPattern::gpt2, 300)), ElementsAre("a a", "aa a", "aa aa"));
  EXPECT_THAT(merges_of(learnt("abc", SplitPattern::gpt2, 259)), ElementsAre("a b", "ab c"));
  EXPECT_THAT(merges_of(learnt("", SplitPattern::gpt2, 300)), ElementsAre());
}

TEST(TrainBpe, CountsAddUpInAnyOrder) {
  const std::string text = test::golden_text("cuts.txt"), other = "the old lamp \xFF of the river";
  PieceCounts one(SplitPattern::gpt2), two(SplitPattern::gpt2), both(SplitPattern::gpt2);
  one.add(text);
  two.add(other);
  two.add(std::string(PieceCounts::kLongest + 1, 'x'));
  both.add(std::string(PieceCounts::kLongest + 1, 'y'));
  both.add(other);
  both.add(text);
  two.add(one);
  EXPECT_EQ(two.counts(), both.counts());
  EXPECT_EQ(two.left_out(), 1);
  EXPECT_EQ(merges_of(train_bpe(two, 600, "<|endoftext|>")),
            merges_of(train_bpe(both, 600, "<|endoftext|>")));
}

}  // namespace
}  // namespace moe::text
