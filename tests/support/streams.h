// SPDX-License-Identifier: MIT
// Two places for a Terminal to write to: a log file, and a pseudo terminal whose screen the test reads.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
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
      : screen_(::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK)) {
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
  // What came since the last call. The terminal turns "\n" into "\r\n".
  std::string take() {
    std::array<char, 4096> buffer;
    const ssize_t count = ::read(screen_, buffer.data(), buffer.size());
    return count > 0 ? std::string(buffer.data(), static_cast<size_t>(count)) : "";
  }

 private:
  int screen_;
  std::FILE* stream_ = nullptr;
};

}  // namespace moe::test
