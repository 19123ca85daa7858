// SPDX-License-Identifier: MIT
// Two places for a Terminal to write to: a log file, and a pseudo terminal whose screen the test reads.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace moe::test {

class LogFile {
 public:
  LogFile() : stream_(std::tmpfile()) {}
  ~LogFile() { std::fclose(stream_); }
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  std::FILE* stream() { return stream_; }
  // All that was written so far.
  std::string text() {
    std::fflush(stream_);
    std::rewind(stream_);
    std::string text;
    for (int c = std::fgetc(stream_); c != EOF; c = std::fgetc(stream_)) text += static_cast<char>(c);
    return text;
  }

 private:
  std::FILE* stream_;
};

class PseudoTerminal {
 public:
  explicit PseudoTerminal(unsigned short columns, const char* term = "xterm")
      : screen_(::posix_openpt(O_RDWR | O_NOCTTY)) {
    ::grantpt(screen_);
    ::unlockpt(screen_);
    stream_ = std::fopen(::ptsname(screen_), "w");
    const winsize size{25, columns, 0, 0};
    ::ioctl(::fileno(stream_), TIOCSWINSZ, &size);
    ::setenv("TERM", term, 1);
  }
  ~PseudoTerminal() {
    std::fclose(stream_);
    ::close(screen_);
  }
  PseudoTerminal(const PseudoTerminal&) = delete;
  PseudoTerminal& operator=(const PseudoTerminal&) = delete;

  std::FILE* stream() { return stream_; }
  // What came since the last call. The terminal turns "\n" into "\r\n". The kernel passes bytes on when it
  // likes, so a mark is sent after them and waited for.
  std::string take() {
    constexpr char kMark = '\x1e';
    std::fputc(kMark, stream_);
    std::fflush(stream_);
    std::string text;
    char next = 0;
    pollfd ready{screen_, POLLIN, 0};
    while (::poll(&ready, 1, 10'000) == 1 && ::read(screen_, &next, 1) == 1) {
      if (next == kMark) return text;
      text += next;
    }
    return text + "(and the screen went silent)";
  }

 private:
  int screen_;
  std::FILE* stream_ = nullptr;
};

}  // namespace moe::test
