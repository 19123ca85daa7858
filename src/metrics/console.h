// SPDX-License-Identifier: MIT
// Rows for the person who watches: on a terminal one live status line, in a log file a plain line every
// log_every steps, but not more often than every log_seconds; a row with validation_loss gets a line in both.
// Reads the names of docs/metrics.md; a name that is not in the row shows as "-" or is left out.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/steady_seconds.h"
#include "base/terminal.h"
#include "metrics/meters.h"
#include "metrics/sink.h"

namespace moe::metrics {

class Console final : public Sink {
 public:
  // max_steps: last step of the run. clock: seconds on any steady clock, for the time left; tests give their
  // own. The first and the last step always have a line.
  Console(Terminal& terminal, int64_t max_steps, int64_t log_every, double log_seconds,
          std::function<double()> clock = steady_seconds);
  ~Console() override;  // takes the status line away
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  void write(const Row& row) override;

 private:
  std::string step_line(const Row& row) const;
  std::string status_line(const Row& row) const;
  std::string validation_line(const Row& row) const;

  Terminal& terminal_;
  int64_t max_steps_, log_every_;
  double log_seconds_;
  std::function<double()> clock_;
  Smoothed tokens_per_second_;
  TimeLeft time_left_;
  std::optional<double> validation_loss_;  // the last seen
  std::optional<double> last_line_;        // when the last step line was written to a log
};

}  // namespace moe::metrics
