// SPDX-License-Identifier: MIT
// The conversation in the terminal, with a script in place of the person and of the model.
#include "generate/chat_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "support/folder.h"
#include "text/gpt2_tokenizer.h"
#include "text/open_tokenizer.h"

namespace moe::generate {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Script final : public ChatTerminal {
 public:
  Input read(bool continued) override {
    asked_for_more += continued;
    if (lines.empty()) return {};
    const std::string line = lines.front();
    lines.pop_front();
    return line == kKey ? Input{Event::interrupt, ""} : Input{Event::line, line};
  }
  void write(std::string_view text) override { shown += text; }
  void say(const std::string& text) override { said.push_back(text); }

  static constexpr const char* kKey = "^C";
  std::deque<std::string> lines;
  std::string shown;
  std::vector<std::string> said;
  int asked_for_more = 0;
};

class Loop : public ::testing::Test {
 protected:
  static std::shared_ptr<const text::Chat> chatml() {
    static const auto chat =
        text::open_chat("chatml", text::kBuiltInTokenizer, std::make_shared<const text::Gpt2Tokenizer>());
    return chat;
  }
  // Runs the lines; the model says what `completions` have, then "ok".
  int64_t run(std::deque<std::string> lines) {
    script_.lines = std::move(lines);
    ChatLoop loop(
        talk_,
        [this](const std::vector<text::TokenId>& ids, const auto& on_text) {
          asked_.push_back(chatml()->decode(ids, true));
          if (fail_) throw UserError("the model", "logits that are numbers", "NaN");
          Completion made{.ids = {1}, .text = "ok", .finish = Finish::end_of_turn, .cached = 0};
          if (!completions_.empty()) {
            made = completions_.front();
            completions_.pop_front();
          }
          for (const char c : made.text) on_text(std::string_view(&c, 1));
          return made;
        },
        script_);
    return loop.run();
  }
  std::vector<std::string> roles() const {
    std::vector<std::string> all;
    for (const auto& message : talk_.whole().messages) all.push_back(message.at("role"));
    return all;
  }

  Script script_;
  Talk talk_{chatml(), 200, 40};
  std::deque<Completion> completions_;
  std::vector<std::string> asked_;
  bool fail_ = false;
};

TEST_F(Loop, RemembersWhatWasSaid) {
  completions_ = {{.ids = {1, 2}, .text = "A light.", .finish = Finish::end_of_turn, .cached = 0}};
  EXPECT_EQ(run({"What is a lamp?", "", "  ", "And a lantern?  "}), 0);
  ASSERT_EQ(asked_.size(), 2U);
  EXPECT_THAT(asked_[1], AllOf(HasSubstr("What is a lamp?<"), HasSubstr("A light.<"),
                               HasSubstr("And a lantern?<|im_end|>\n<|im_start|>assistant\n")));
  EXPECT_EQ(script_.shown, "A light.\nok\n");
  EXPECT_THAT(script_.said, IsEmpty());
  EXPECT_THAT(roles(), ElementsAre("user", "assistant", "user", "assistant"));
}

TEST_F(Loop, CommandsAreNotForTheModel) {
  EXPECT_EQ(run({"/system Be brief.", "one", "/reset", "two", "/system", "three", "/help", "/exit", "four"}),
            0);
  ASSERT_EQ(asked_.size(), 3U);
  EXPECT_THAT(asked_[0], HasSubstr("system\nBe brief."));
  EXPECT_THAT(asked_[1], AllOf(HasSubstr("system\nBe brief."), Not(HasSubstr("one")), HasSubstr("two")));
  EXPECT_THAT(asked_[2], AllOf(Not(HasSubstr("Be brief.")), HasSubstr("two"), HasSubstr("three")));
  EXPECT_THAT(script_.said.back(), AllOf(HasSubstr("/reset"), HasSubstr("/system TEXT"),
                                         HasSubstr("/save FILE"), HasSubstr("/exit"), HasSubstr("Ctrl-C")));
}

TEST_F(Loop, AnUnknownCommandIsToldAndASlashCanBeSaid) {
  EXPECT_EQ(run({"/rest", "/etc/hosts is what?", "//etc/hosts is what?"}), 2);
  ASSERT_EQ(asked_.size(), 1U);
  EXPECT_THAT(asked_[0], HasSubstr("user\n/etc/hosts is what?<"));
  EXPECT_THAT(script_.said[0], HasSubstr("Did you mean /reset?"));
  EXPECT_THAT(script_.said[1], HasSubstr("/help lists them"));
}

TEST_F(Loop, AMessageGoesOnBehindABackslash) {
  EXPECT_EQ(run({"first \\", "  second\\", "third", "last\\"}), 0);
  ASSERT_EQ(asked_.size(), 2U);
  EXPECT_THAT(asked_[0], HasSubstr("user\nfirst \n  second\nthird<"));
  EXPECT_THAT(asked_[1], HasSubstr("user\nlast<"));
  EXPECT_EQ(script_.asked_for_more, 3);
  // The key drops all of it.
  EXPECT_EQ(run({"lost \\", Script::kKey, "kept"}), 0);
  EXPECT_THAT(asked_.back(), AllOf(HasSubstr("kept"), Not(HasSubstr("lost"))));
}

TEST_F(Loop, AnInterruptedAnswerDoesNotLeave) {
  completions_ = {{.ids = {}, .text = "", .finish = Finish::interrupted, .cached = 0},
                  {.ids = {1}, .text = "A lig", .finish = Finish::interrupted, .cached = 0}};
  EXPECT_EQ(run({"too slow", "What is a lamp?", Script::kKey, "go on"}), 0);
  EXPECT_THAT(script_.said[0], HasSubstr("taken back"));
  EXPECT_THAT(script_.said[1], HasSubstr("up to here"));
  EXPECT_THAT(script_.said[2], HasSubstr("Ctrl-D or /exit leaves"));
  ASSERT_EQ(asked_.size(), 3U);
  EXPECT_THAT(asked_[1], Not(HasSubstr("too slow")));
  EXPECT_THAT(asked_[2], AllOf(HasSubstr("assistant\nA lig<"), HasSubstr("go on")));
  EXPECT_EQ(script_.shown, "\nA lig\nok\n");
}

TEST_F(Loop, WhatIsLeftOutAndCutIsSaid) {
  completions_ = {{.ids = {1, 2, 3}, .text = "one two three", .finish = Finish::length, .cached = 0}};
  std::string longer;
  for (int i = 0; i < 60; ++i) longer += " word";
  EXPECT_EQ(run({"a", "b" + longer, "c" + longer, "d" + longer, "e" + longer + longer + longer + longer}), 1);
  EXPECT_THAT(script_.said[0], HasSubstr("cut after 3 tokens (--max-new-tokens)"));
  EXPECT_THAT(script_.said[1], HasSubstr("left out: the context has 200 tokens"));
  EXPECT_THAT(script_.said.back(), HasSubstr("fewer than 200 tokens"));
  EXPECT_EQ(asked_.size(), 4U);
}

TEST_F(Loop, AFullContextIsSaid) {
  std::string longer;
  for (int i = 0; i < 180; ++i) longer += " word";
  const std::vector<text::TokenId> rest(200, 1);
  completions_ = {{.ids = rest, .text = "x", .finish = Finish::length, .cached = 0}};
  EXPECT_EQ(run({longer}), 0);
  EXPECT_THAT(script_.said, ElementsAre(HasSubstr("the context of 200 tokens is full")));
}

TEST_F(Loop, AFailureTakesTheQuestionBack) {
  fail_ = true;
  EXPECT_EQ(run({"one"}), 1);
  EXPECT_THAT(script_.said, ElementsAre(HasSubstr("logits that are numbers")));
  fail_ = false;
  EXPECT_EQ(run({"two"}), 0);
  EXPECT_THAT(asked_.back(), Not(HasSubstr("one")));
}

// As training and `moe generate --messages` read it; a file that is there gets one more line.
TEST_F(Loop, SavesAConversationAsALine) {
  const test::TestFolder folder;
  const std::string file = (folder.path() / "talk.jsonl").string();
  EXPECT_EQ(run({"/save " + file, "/system Be \"brief\".", "Ünïcode?", "/save " + file, "more",
                 "/save " + file, "/save", "/save " + file + "/no/such"}),
            3);
  const std::string text = read_file(file);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  const auto first = nlohmann::json::parse(text.substr(0, text.find('\n')));
  EXPECT_EQ(first, nlohmann::json::parse(R"({"messages": [{"role": "system", "content": "Be \"brief\"."},
      {"role": "user", "content": "Ünïcode?"}, {"role": "assistant", "content": "ok"}]})"));
  const auto second = nlohmann::json::parse(text.substr(text.find('\n') + 1));
  EXPECT_EQ(second.at("messages").size(), 5U);
  folder.put("open.jsonl", "{}");  // its last line has no end
  EXPECT_EQ(run({"/save " + (folder.path() / "open.jsonl").string()}), 0);
  EXPECT_THAT(read_file(folder.path() / "open.jsonl"), ::testing::StartsWith("{}\n{\"messages\""));
}

// Nothing that is shown or remembered is ill-formed.
TEST_F(Loop, BrokenTextIsRepaired) {
  completions_ = {{.ids = {1}, .text = "a\xE2\x82", .finish = Finish::length, .cached = 0}};
  EXPECT_EQ(run({"\xFF?", "more"}), 0);
  EXPECT_THAT(asked_[0], HasSubstr("\xEF\xBF\xBD?"));
  EXPECT_THAT(asked_[1], HasSubstr("a\xEF\xBF\xBD<"));
}

}  // namespace
}  // namespace moe::generate
