// SPDX-License-Identifier: MIT
#include "generate/chat_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/ascii.h"
#include "base/error.h"
#include "base/file.h"
#include "base/nearest.h"
#include "base/utf8.h"

namespace moe::generate {
namespace {

constexpr std::string_view kHelp =
    "/reset        forget the conversation; the system's message stays\n"
    "/system TEXT  the system's message from here on; without TEXT there is none\n"
    "/save FILE    append the conversation to a file of conversations (JSON lines)\n"
    "/help         this\n"
    "/exit         leave, as Ctrl-D does\n"
    "A \\ at the end of a line: the message goes on in the next one. // at its beginning: a message that\n"
    "begins with a /. Ctrl-C ends an answer.";
constexpr std::string_view kWhite = " \t\r\n\v\f";

std::string repaired(std::string_view text) {
  std::string whole;
  repair_utf8(text, whole);
  return whole;
}

std::string turns(int64_t count) {
  return count == 1 ? "the oldest turn is" : fmt::format("the oldest {} turns are", count);
}

}  // namespace

int64_t ChatLoop::run() {
  for (;;) {
    const ChatTerminal::Input input = read_message();
    if (input.event == ChatTerminal::Event::end) return failed_;
    if (input.event == ChatTerminal::Event::interrupt) {
      terminal_.say("Ctrl-D or /exit leaves");
    } else if (!take(input.line)) {
      return failed_;
    }
  }
}

ChatTerminal::Input ChatLoop::read_message() {
  ChatTerminal::Input whole = terminal_.read(false);
  while (whole.event == ChatTerminal::Event::line && whole.line.ends_with('\\')) {
    whole.line.back() = '\n';
    const ChatTerminal::Input next = terminal_.read(true);
    if (next.event == ChatTerminal::Event::interrupt) return next;  // all of it is dropped
    if (next.event == ChatTerminal::Event::end) break;              // the next read() says so again
    whole.line += next.line;
  }
  return whole;
}

bool ChatLoop::take(const std::string& line) {
  const std::string text = repaired(trim(line, kWhite));
  if (text.empty()) return true;
  try {
    if (text.starts_with("//"))
      question(text.substr(1));
    else if (text.starts_with('/'))
      return command(text);
    else
      question(text);
  } catch (const UserError& error) {
    complain(error.what());
  }
  return true;
}

bool ChatLoop::command(const std::string& line) {
  const size_t end = std::min(line.find_first_of(" \t\n"), line.size());
  const std::string name = line.substr(0, end);
  const std::string rest(trim(std::string_view(line).substr(end), kWhite));
  if (name == "/exit") return false;
  if (name == "/system") {
    set_system(rest);
  } else if (name == "/save") {
    save(rest);
  } else if (name == "/help") {
    terminal_.say(std::string(kHelp));
  } else if (name == "/reset") {
    talk_.reset();
    terminal_.say("forgotten");
  } else {
    const std::string meant = nearest_name(name, {"/reset", "/system", "/save", "/help", "/exit"});
    complain(fmt::format("{} is no command. {}; // begins a message with a /", name,
                         meant.empty() ? "/help lists them" : "Did you mean " + meant + "?"));
  }
  return true;
}

void ChatLoop::question(const std::string& message) {
  Talk::Question asked = talk_.ask(message);
  if (asked.left_out > 0)
    terminal_.say(
        fmt::format("{} left out: the context has {} tokens", turns(asked.left_out), talk_.context()));
  const int64_t prompt = std::ssize(asked.ids);
  Completion made;
  try {
    made = answerer_(std::move(asked.ids), [&](std::string_view text) { terminal_.write(repaired(text)); });
  } catch (...) {
    talk_.take_back();
    throw;
  }
  terminal_.write("\n");
  if (made.finish == Finish::interrupted && made.ids.empty()) {
    talk_.take_back();
    return terminal_.say("interrupted; the message is taken back");
  }
  talk_.answer(repaired(made.text));
  if (made.finish == Finish::interrupted) terminal_.say("interrupted; the conversation has it up to here");
  if (made.finish == Finish::length)
    terminal_.say(prompt + std::ssize(made.ids) >= talk_.context()
                      ? fmt::format("cut: the context of {} tokens is full", talk_.context())
                      : fmt::format("cut after {} tokens (--max-new-tokens)", made.ids.size()));
}

void ChatLoop::set_system(const std::string& text) {
  talk_.set_system(text);
  terminal_.say(text.empty() ? "no system message from here on" : "the system message is set");
}

void ChatLoop::save(const std::string& path) {
  if (path.empty()) return complain("/save FILE: which file?");
  if (talk_.empty()) return complain("/save: nothing was said yet");
  const OrderedJson line{{"messages", talk_.whole().messages}};
  const bool there = std::filesystem::exists(path);
  std::string text = there ? read_file(path) : "";
  if (!text.empty() && text.back() != '\n') text += '\n';
  write_file_atomically(path, text + line.dump() + '\n');
  terminal_.say(fmt::format("{} {}", there ? "appended to" : "saved in", path));
}

void ChatLoop::complain(const std::string& text) {
  ++failed_;
  terminal_.say(text);
}

}  // namespace moe::generate
