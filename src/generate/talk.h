// SPDX-License-Identifier: MIT
// A conversation that goes on: its messages, and the ids with which a model is asked for the next answer.
// What is longer than the model's context loses its oldest turns, each whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat.h"

namespace moe::generate {

class Talk {
 public:
  // context: tokens of a question with all before it and of its answer. room: of these for the answer, as
  // long as the question alone leaves so many.
  Talk(std::shared_ptr<const text::Chat> chat, int64_t context, int64_t room,
       text::SpecialText special = text::SpecialText::anywhere,
       OrderedJson variables = OrderedJson::object());

  // The message in front of all turns; "": there is none.
  void set_system(std::string text) { system_ = std::move(text); }
  const std::string& system() const { return system_; }

  // A turn is a question and what follows it.
  struct Question {
    std::vector<text::TokenId> ids;  // up to the beginning of an answer
    int64_t left_out = 0;            // turns that this question cost, oldest first
  };
  // Adds the user's message. Throws UserError where it does not fit or the template refuses it: then it is
  // not there.
  Question ask(std::string message);
  void answer(std::string message);
  void take_back();  // the last question, before it has an answer
  void reset();      // all but the system's message

  // With the turns that were left out.
  text::Conversation whole() const { return messages_from(0); }
  bool empty() const { return messages_.empty(); }
  const text::Chat& chat() const { return *chat_; }
  int64_t context() const { return context_; }

 private:
  struct Message {
    std::string_view role;
    std::string content;
  };
  text::Conversation messages_from(size_t begin) const;
  Question fitting();

  std::shared_ptr<const text::Chat> chat_;
  std::unique_ptr<text::Tokenizer::Encoder> encoder_;
  int64_t context_, room_;
  text::SpecialText special_;
  OrderedJson variables_;
  std::string system_;
  std::vector<Message> messages_;
  size_t begin_ = 0;  // the first message that the model sees: a question
};

}  // namespace moe::generate
