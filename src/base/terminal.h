// SPDX-License-Identifier: MIT
// All words for the person at the keyboard go through here: permanent lines, and one live status line that is
// redrawn in place on a terminal and never written to a log file. Safe to call from any thread.
#pragma once

#include <cstdio>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace moe {

class Terminal {
 public:
  // stream: stderr for messages. interactive is true when it is a terminal that can redraw a line.
  explicit Terminal(std::FILE* stream = stderr);

  bool interactive() const { return interactive_; }
  void line(const std::string& text);     // a permanent line
  void warning(const std::string& text);  // the same, marked
  void status(const std::string& text);   // replaces the live line; nothing when not interactive
  void clear_status();

  // From now on the first line of each line() is the live line only, behind `prefix`; warnings stay
  // permanent. "" ends that.
  void shorten(const std::string& prefix);

  // Is told each permanent line too, by the thread that writes it; none: nobody. May itself write lines.
  using Listener = std::function<void(const std::string&)>;
  void listen(Listener listener);

 private:
  void erase();
  void permanent(const std::string& words);
  void tell(const std::string& text);
  std::FILE* stream_;
  bool interactive_;
  std::mutex mutex_;
  std::string status_, prefix_;  // guarded by mutex_
  std::shared_ptr<const Listener> listener_;
};

// Terminal::shorten() while it lives. prefix "": nothing.
class ShortLines {
 public:
  ShortLines(Terminal& terminal, const std::string& prefix) : terminal_(terminal) {
    terminal_.shorten(prefix);
  }
  ~ShortLines() { terminal_.shorten(""); }
  ShortLines(const ShortLines&) = delete;
  ShortLines& operator=(const ShortLines&) = delete;

 private:
  Terminal& terminal_;
};

}  // namespace moe
