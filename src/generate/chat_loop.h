// SPDX-License-Identifier: MIT
// A conversation line by line: questions, commands, interruptions. Who types and who answers are interfaces.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "generate/generate.h"
#include "generate/talk.h"

namespace moe::generate {

// Who asks.
class ChatTerminal {
 public:
  enum class Event : uint8_t { line, interrupt, end };  // interrupt: Ctrl-C where nothing is being answered
  struct Input {
    Event event = Event::end;
    std::string line;  // without its end
  };

  ChatTerminal() = default;
  virtual ~ChatTerminal() = default;
  ChatTerminal(const ChatTerminal&) = delete;
  ChatTerminal& operator=(const ChatTerminal&) = delete;

  // The next line; continued: it belongs to the line before it.
  virtual Input read(bool continued) = 0;
  // A part of an answer, or the end of its line.
  virtual void write(std::string_view text) = 0;
  // A line about the conversation.
  virtual void say(const std::string& text) = 0;
};

// Who answers: writes on behind these ids, says what comes as it comes, and ends early where the person
// interrupts it.
using Answerer =
    std::function<Completion(std::vector<text::TokenId> ids, const std::function<void(std::string_view)>&)>;

class ChatLoop {
 public:
  // All must outlive this.
  ChatLoop(Talk& talk, Answerer answerer, ChatTerminal& terminal)
      : talk_(talk), answerer_(std::move(answerer)), terminal_(terminal) {}

  // Until /exit or the end of the input. Returns how many lines were left without what they asked for.
  int64_t run();

 private:
  ChatTerminal::Input read_message();
  // Whether to go on.
  bool take(const std::string& line);
  bool command(const std::string& line);
  void question(const std::string& message);
  void set_system(const std::string& text);
  void save(const std::string& path);
  void complain(const std::string& text);

  Talk& talk_;
  const Answerer answerer_;
  ChatTerminal& terminal_;
  int64_t failed_ = 0;
};

}  // namespace moe::generate
