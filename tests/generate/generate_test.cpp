// SPDX-License-Identifier: MIT
// Texts as they come, where they end, and what the decoder keeps of them, with a tiny model of chance.
#include "generate/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "generate/written_model.h"

namespace moe::generate {
namespace {

const std::vector<text::TokenId> kPrompt{90, 5, 17, 60, 33, 8, 41, 2, 77, 11};

std::string repaired(const std::string& text) {
  std::string whole;
  repair_utf8(text, whole);
  return whole;
}

// Each part shows as it does in the whole text, also where a byte belongs to no character.
TEST(Generate, TextComesInWholeCharacters) {
  const PartsTokenizer tokenizer;
  WrittenModel model;
  int split = 0;  // tokens that end inside of a character
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    std::string shown, readable, by_token;
    const auto made = model.write({{kPrompt, seed}}, tokenizer, {.max_new_tokens = 40, .temperature = 2},
                                  [&](size_t, std::string_view text) {
                                    shown += text;
                                    readable += repaired(std::string(text));
                                  });
    EXPECT_EQ(shown, made.front().text);
    EXPECT_EQ(readable, repaired(shown));
    for (const text::TokenId id : made.front().ids) by_token += repaired(std::string(tokenizer.bytes(id)));
    split += by_token != readable;
  }
  EXPECT_GT(split, 0);  // else nothing was held back
}

TEST(Generate, AnInterruptedTextSaysWhatTheDecoderHolds) {
  const PartsTokenizer tokenizer;
  WrittenModel model;
  const SamplingOptions options{.max_new_tokens = 20, .temperature = 0, .ignore_end_of_text = true};
  const Completion whole = model.write({{kPrompt, 1}}, tokenizer, options).front();
  EXPECT_EQ(whole.finish, Finish::length);
  EXPECT_EQ(whole.cached, std::ssize(kPrompt) + 19);  // nobody has asked what follows the last one

  // Of 9 tokens before the last, 4 are read at a time: asked 3 times, then before each new one.
  for (const int times : {0, 1, 2, 3, 8}) {
    int asked = 0;
    const Completion part =
        model.write({{kPrompt, 1}}, tokenizer, options, {}, [&] { return asked++ == times; }).front();
    EXPECT_EQ(part.finish, Finish::interrupted);
    EXPECT_EQ(std::ssize(part.ids), std::max(0, times - 3));
    EXPECT_EQ(part.cached, times > 3 ? std::ssize(kPrompt) + times - 4 : std::min(4 * times, 9)) << times;
    std::vector<text::TokenId> all = kPrompt;
    all.insert(all.end(), part.ids.begin(), part.ids.end());
    model.times = {};
    const Completion rest =
        model.write({{all, 1, std::min(part.cached, std::ssize(all) - 1)}}, tokenizer, options).front();
    EXPECT_EQ(model.times.prompt_tokens, std::ssize(all) - std::min(part.cached, std::ssize(all) - 1));
    std::vector<text::TokenId> both = part.ids;
    both.insert(both.end(), rest.ids.begin(), rest.ids.end());
    ASSERT_GE(both.size(), whole.ids.size());
    EXPECT_TRUE(std::equal(whole.ids.begin(), whole.ids.end(), both.begin())) << "interrupted at " << times;
  }
}

// What is cached belongs to the tokens of this place in the batch.
TEST(Generate, EachTextGoesOnFromItsOwnCache) {
  const PartsTokenizer tokenizer;
  WrittenModel model(2);
  const SamplingOptions options{.max_new_tokens = 6, .temperature = 0, .ignore_end_of_text = true};
  std::vector<Prompt> prompts{{kPrompt, 1}, {{90, 3, 4, 12, 50}, 1}};
  const auto once = model.write(prompts, tokenizer, options);
  for (size_t i = 0; i < 2; ++i) {
    prompts[i].ids.insert(prompts[i].ids.end(), once[i].ids.begin(), once[i].ids.end());
    prompts[i].cached = once[i].cached;
  }
  const auto further = model.write(prompts, tokenizer, options);
  WrittenModel fresh(2);
  for (Prompt& prompt : prompts) prompt.cached = 0;
  const auto anew = fresh.write(prompts, tokenizer, options);
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(further[i].ids, anew[i].ids) << i;
}

}  // namespace
}  // namespace moe::generate
