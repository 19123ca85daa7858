// SPDX-License-Identifier: MIT
// How far a long task has come: a live line on a terminal (share, rate, time left), a plain line every ten
// seconds in a log, one summary line at the end. The words go through Terminal.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "base/terminal.h"

namespace moe {

class Progress {
 public:
  using Clock = std::function<double()>;  // seconds; the steady clock unless a test brings its own

  // label: "reading corpus". total: 0 when unknown. unit: "tokens", "documents"; "bytes" prints as MiB and
  // MiB/s.
  Progress(Terminal& terminal, std::string label, uint64_t total, std::string unit, Clock clock = {});

  void add(uint64_t count);  // from any thread
  // One permanent line: label, amount, time, rate. Later calls print nothing.
  void done();
  ~Progress();  // clears the live line; prints nothing
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

 private:
  std::string amount(double count) const;
  std::string line(double elapsed) const;

  Terminal& terminal_;
  const std::string label_, unit_;
  const uint64_t total_;
  const Clock clock_;
  const double start_;
  std::mutex mutex_;
  uint64_t count_ = 0;
  double shown_;
  bool finished_ = false;
};

}  // namespace moe
