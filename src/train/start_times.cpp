// SPDX-License-Identifier: MIT
#include "train/start_times.h"

#include <fmt/format.h>

#include "base/process_age.h"

namespace moe::train {
namespace {

constexpr double kShort = 0.005;  // less is not told

}  // namespace

StartTimes StartTimes::of_process() {
  StartTimes times;
  if (const auto age = process_age()) times.parts_.emplace_back("loading", *age);
  return times;
}

void StartTimes::end(const char* part) {
  const double now = steady_seconds();
  parts_.emplace_back(part, now - last_);
  last_ = now;
}

std::string StartTimes::describe() const {
  double all = 0;
  std::string list;
  for (const auto& [part, seconds] : parts_) {
    all += seconds;
    if (seconds >= kShort) list += fmt::format("{} {} {:.2f}", list.empty() ? "" : ",", part, seconds);
  }
  return fmt::format("first step after {:.2f} s:{}", all, list);
}

}  // namespace moe::train
