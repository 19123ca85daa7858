// SPDX-License-Identifier: MIT
// Where the time goes between the start of a process and the end of its first step, in parts that follow one
// another. By the host's clock: work that a GPU has been given counts where it is first waited for.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/steady_seconds.h"

namespace moe::train {

class StartTimes {
 public:
  using Parts = std::vector<std::pair<std::string, double>>;  // (what was done, seconds)

  // The first part begins now.
  StartTimes() = default;
  // It has begun with the process: its time until now is the part `loading`.
  static StartTimes of_process();

  // Ends a part; the next one begins.
  void end(const char* part);
  const Parts& parts() const { return parts_; }
  // "first step after 2.41 s: loading 0.05, device 0.40, ..."
  std::string describe() const;

 private:
  double last_ = steady_seconds();
  Parts parts_;
};

}  // namespace moe::train
