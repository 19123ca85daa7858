// SPDX-License-Identifier: MIT
#include "cli/keyboard.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "base/error.h"

namespace moe::cli {
namespace {

int open_event() {
  const int event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event < 0) throw UserError("eventfd", "to be able to open one", std::strerror(errno));
  return event;
}

sigset_t interrupts() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  return signals;
}

}  // namespace

InterruptKey::InterruptKey() : event_(open_event()), thread_(interrupts(), [this](int) { taken(); }) {}

void InterruptKey::taken() {
  if (!listening_ || waiting_.exchange(true)) _exit(128 + SIGINT);
  const uint64_t one = 1;
  if (::write(event_.get(), &one, sizeof(one)) < 0) _exit(128 + SIGINT);
}

bool InterruptKey::pressed() {
  if (!waiting_) return false;
  uint64_t count = 0;
  const bool was = ::read(event_.get(), &count, sizeof(count)) == sizeof(count);
  if (was) waiting_ = false;
  return was;
}

bool Keyboard::fill() {
  std::array<pollfd, 2> places{{{STDIN_FILENO, POLLIN, 0}, {-1, POLLIN, 0}}};
  if (key_ != nullptr) places[1].fd = key_->descriptor();
  while (::poll(places.data(), places.size(), -1) < 0)
    if (errno != EINTR) throw UserError("standard input", "to be able to wait for it", std::strerror(errno));
  if (key_ != nullptr && key_->pressed()) return false;
  std::array<char, 4096> bytes{};
  const ssize_t count = ::read(STDIN_FILENO, bytes.data(), bytes.size());
  if (count < 0 && errno != EINTR && errno != EAGAIN)
    throw UserError("standard input", "to be able to read it", std::strerror(errno));
  if (count == 0) ended_ = true;
  if (count > 0) buffer_.append(bytes.data(), static_cast<size_t>(count));
  return true;
}

generate::ChatTerminal::Input Keyboard::read(bool continued) {
  if (key_ != nullptr) {
    std::fputs(continued ? "... " : "> ", stderr);
    std::fflush(stderr);
  }
  for (;;) {
    const size_t end = buffer_.find('\n');
    if (end != std::string::npos || (ended_ && !buffer_.empty())) {
      Input input{Event::line, buffer_.substr(0, end)};
      buffer_.erase(0, end == std::string::npos ? end : end + 1);
      if (input.line.ends_with('\r')) input.line.pop_back();
      constexpr std::string_view kMark = "\xef\xbb\xbf";  // of a file from another system
      if (!begun_ && input.line.starts_with(kMark)) input.line.erase(0, kMark.size());
      begun_ = true;
      return input;
    }
    if (ended_) {
      if (key_ != nullptr) std::fputs("\n", stderr);  // behind the prompt
      return {Event::end, ""};
    }
    if (!fill()) {
      buffer_.clear();
      std::fputs("\n", stderr);  // behind ^C
      return {Event::interrupt, ""};
    }
  }
}

void Keyboard::write(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace moe::cli
