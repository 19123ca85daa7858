// SPDX-License-Identifier: MIT
#include "base/progress.h"

#include <fmt/format.h>

#include <utility>

#include "base/format.h"
#include "base/steady_seconds.h"

namespace moe {
namespace {

constexpr double kRedraw = 0.1;  // seconds between changes of a live line
constexpr double kLog = 10;      // and between lines of a log

}  // namespace

Progress::Progress(Terminal& terminal, std::string label, uint64_t total, std::string unit, Clock clock)
    : terminal_(terminal),
      label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      clock_(clock ? std::move(clock) : Clock(steady_seconds)),
      start_(clock_()),
      shown_(start_) {}

Progress::~Progress() {
  if (!finished_) terminal_.clear_status();
}

std::string Progress::amount(double count) const {
  return unit_ == "bytes" ? format_bytes(count) : format_count(count) + " " + unit_;
}

std::string Progress::line(double elapsed) const {
  const auto count = static_cast<double>(count_), total = static_cast<double>(total_);
  std::string text = label_ + ": ";
  if (total_ > 0) {
    text += fmt::format("{:.0f}%, {} of {}", 100 * count / total,
                        unit_ == "bytes" ? format_bytes(count) : format_count(count), amount(total));
  } else {
    text += amount(count);
  }
  if (elapsed > 0) text += fmt::format(", {}/s", amount(count / elapsed));
  if (elapsed > 0 && count_ > 0 && count_ < total_)
    text += fmt::format(", {} left", format_duration(elapsed * (total - count) / count));
  return text;
}

void Progress::add(uint64_t count) {
  const std::lock_guard lock(mutex_);
  count_ += count;
  const double now = clock_();
  if (finished_ || now - shown_ < (terminal_.interactive() ? kRedraw : kLog)) return;
  shown_ = now;
  if (terminal_.interactive()) {
    terminal_.status(line(now - start_));
  } else {
    terminal_.line(line(now - start_));
  }
}

void Progress::done() {
  const std::lock_guard lock(mutex_);
  if (std::exchange(finished_, true)) return;
  const double elapsed = clock_() - start_;
  terminal_.clear_status();
  std::string text =
      fmt::format("{}: {} in {}", label_, amount(static_cast<double>(count_)), format_duration(elapsed));
  if (elapsed > 0) text += fmt::format(" ({}/s)", amount(static_cast<double>(count_) / elapsed));
  terminal_.line(text);
}

}  // namespace moe
