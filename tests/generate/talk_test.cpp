// SPDX-License-Identifier: MIT
// A conversation that outgrows its context, and what a decoder keeps of it.
#include "generate/talk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "generate/kept_prefix.h"
#include "support/errors.h"
#include "text/gpt2_tokenizer.h"
#include "text/open_tokenizer.h"

namespace moe::generate {
namespace {

using test::user_error_of;
using ::testing::HasSubstr;
using ::testing::Not;

const std::shared_ptr<const text::Chat>& chatml() {
  static const auto chat =
      text::open_chat("chatml", text::kBuiltInTokenizer, std::make_shared<const text::Gpt2Tokenizer>());
  return chat;
}

std::string seen(const Talk::Question& question) {
  return chatml()->decode(question.ids, true);
}

TEST(Talk, IsWhatTheTemplateMakesOfIt) {
  Talk talk(chatml(), 1000, 100);
  talk.set_system("Be brief.");
  talk.ask("What is a lamp?");
  talk.answer("A light.");
  const Talk::Question question = talk.ask("And a lantern?");
  EXPECT_EQ(question.left_out, 0);
  EXPECT_EQ(seen(question),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is a lamp?<|im_end|>\n"
            "<|im_start|>assistant\nA light.<|im_end|>\n<|im_start|>user\nAnd a lantern?<|im_end|>\n"
            "<|im_start|>assistant\n");
  talk.take_back();
  talk.set_system("");
  EXPECT_THAT(seen(talk.ask("So?")), AllOf(Not(HasSubstr("system")), Not(HasSubstr("lantern"))));
}

// A turn goes whole, oldest first; the system's message and what was asked last stay; room is for the answer.
TEST(Talk, WhatIsTooLongLosesItsOldestTurns) {
  constexpr int64_t kContext = 120, kRoom = 40;
  Talk talk(chatml(), kContext, kRoom);
  talk.set_system("Keep me.");
  int64_t left_out = 0;
  for (int i = 0; i < 12; ++i) {
    const Talk::Question question = talk.ask("question " + std::to_string(i));
    EXPECT_LE(std::ssize(question.ids) + kRoom, kContext);
    left_out += question.left_out;
    const std::string text = seen(question);
    EXPECT_THAT(text, HasSubstr("Keep me."));
    for (int j = 0; j <= i; ++j) {
      const bool there = text.find("question " + std::to_string(j) + "<") != std::string::npos;
      EXPECT_EQ(there, j >= left_out) << i << " " << j;
      if (j < i) {
        EXPECT_EQ(text.find("answer " + std::to_string(j) + "<") != std::string::npos, there)
            << i << " " << j;
      }
    }
    talk.answer("answer " + std::to_string(i));
  }
  EXPECT_GT(left_out, 3);
  EXPECT_EQ(talk.whole().messages.size(), 25U);  // nothing is lost of what was said
  talk.reset();
  EXPECT_EQ(talk.ask("new").left_out, 0);
  EXPECT_EQ(talk.whole().messages.size(), 2U);
}

// A question that needs more than the rest of the context is refused, and is as if never asked.
TEST(Talk, AQuestionThatDoesNotFitIsRefused) {
  Talk talk(chatml(), 60, 20);
  talk.ask("first");
  talk.answer("yes");
  std::string longest;
  for (int i = 0; i < 60; ++i) longest += " word";
  EXPECT_THAT(user_error_of([&] { talk.ask(longest); }), HasSubstr("fewer than 60 tokens"));
  EXPECT_THAT(seen(talk.ask("second")), AllOf(HasSubstr("first"), HasSubstr("yes"), Not(HasSubstr("word"))));
  talk.take_back();
  // Between the two the answer has less room, and all else goes.
  const Talk::Question question = talk.ask(longest.substr(0, 5 * 45));
  EXPECT_EQ(question.left_out, 1);
  EXPECT_GT(std::ssize(question.ids), 40);
  EXPECT_LT(std::ssize(question.ids), 60);
}

TEST(Talk, WhatTheTemplateRefusesIsNotThere) {
  const auto tokenizer = std::make_shared<const text::Gpt2Tokenizer>();
  const auto chat = std::make_shared<const text::Chat>(
      tokenizer,
      text::ChatTemplate("here.jinja",
                         "{% for m in messages %}{% if m.content == 'bad' %}{{ raise_exception('not that') }}"
                         "{% endif %}{{ m.content }}{% endfor %}"));
  Talk talk(chat, 100, 10);
  talk.ask("good");
  talk.answer("fine");
  EXPECT_THAT(user_error_of([&] { talk.ask("bad"); }), HasSubstr("not that"));
  EXPECT_EQ(chat->decode(talk.ask("more").ids), "goodfinemore");
}

TEST(KeptPrefix, HoldsWhatBothBeginWith) {
  KeptPrefix kept;
  Prompt first = kept.prompt({1, 2, 3}, 7);
  EXPECT_EQ(first.cached, 0);
  EXPECT_EQ(first.seed, 7U);
  kept.keep(first, {.ids = {4, 5, 6}, .text = "", .finish = Finish::length, .cached = 5});  // 6 was not read
  EXPECT_EQ(kept.prompt({1, 2, 3, 4, 5, 6, 7}, 1).cached, 5);
  EXPECT_EQ(kept.prompt({1, 2, 3, 4, 5, 6, 7}, 1).cached, 0);  // that one was never written
  kept.keep(first, {.ids = {4, 5}, .text = "", .finish = Finish::length, .cached = 4});
  EXPECT_EQ(kept.prompt({1, 2, 9, 4}, 1).cached, 2);
  kept.keep(first, {.ids = {4, 5}, .text = "", .finish = Finish::length, .cached = 4});
  EXPECT_EQ(kept.prompt({1, 2, 3}, 1).cached, 2);  // the last one is asked what follows
}

}  // namespace
}  // namespace moe::generate
