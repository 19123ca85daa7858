// SPDX-License-Identifier: MIT
#include "base/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>
#include <utility>

#include "base/secrets.h"

namespace moe {
namespace {

bool can_redraw(std::FILE* stream) {
  const char* term = std::getenv("TERM");
  return isatty(fileno(stream)) && term && std::string_view(term) != "dumb";
}

size_t columns(std::FILE* stream) {
  winsize size{};
  return ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

Terminal::Terminal(std::FILE* stream) : stream_(stream), interactive_(can_redraw(stream)) {}

void Terminal::erase() {
  if (!status_.empty()) std::fputs("\r\033[K", stream_);
}

void Terminal::permanent(const std::string& words) {
  const std::string text = without_secrets(words);
  {
    const std::lock_guard lock(mutex_);
    erase();
    std::fprintf(stream_, "%s\n", text.c_str());
    if (!status_.empty()) std::fputs(status_.c_str(), stream_);
    std::fflush(stream_);
  }
  tell(text);
}

void Terminal::tell(const std::string& text) {
  std::shared_ptr<const Listener> listener;
  {
    const std::lock_guard lock(mutex_);
    listener = listener_;
  }
  if (listener) (*listener)(text);
}

void Terminal::line(const std::string& words) {
  bool is_short = false;
  {
    const std::lock_guard lock(mutex_);
    is_short = !prefix_.empty();
  }
  if (!is_short) return permanent(words);
  status(words.substr(0, words.find('\n')));
  tell(without_secrets(words));
}

void Terminal::listen(Listener listener) {
  auto shared = listener ? std::make_shared<const Listener>(std::move(listener)) : nullptr;
  const std::lock_guard lock(mutex_);
  listener_ = std::move(shared);
}

void Terminal::warning(const std::string& text) {
  permanent("warning: " + text);
}

void Terminal::status(const std::string& text) {
  if (!interactive_) return;
  const std::lock_guard lock(mutex_);
  erase();
  const std::string words = prefix_.empty() ? text : prefix_ + ": " + text;
  status_ = without_secrets(words).substr(0, columns(stream_) - 1);
  std::fputs(status_.c_str(), stream_);
  std::fflush(stream_);
}

void Terminal::clear_status() {
  const std::lock_guard lock(mutex_);
  erase();
  status_.clear();
  std::fflush(stream_);
}

void Terminal::shorten(const std::string& prefix) {
  clear_status();
  const std::lock_guard lock(mutex_);
  prefix_ = prefix;
}

}  // namespace moe
