// SPDX-License-Identifier: MIT
#include "metrics/console.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/format.h"

namespace moe::metrics {
namespace {

std::string show(const std::optional<double>& value, fmt::format_string<const double&> format) {
  return value ? fmt::format(format, *value) : "-";
}

std::string rate(const Smoothed& tokens_per_second) {
  const auto value = tokens_per_second.value();
  return value ? format_count(*value) + " tok/s" : "- tok/s";
}

std::string time_left(const TimeLeft& left) {
  const auto seconds = left.seconds();
  return seconds ? format_duration(*seconds) : "-";
}

std::string position(int64_t step, int64_t max_steps) {
  const auto width = static_cast<int>(fmt::formatted_size("{}", max_steps));
  return fmt::format("{:>{}}/{}", step, width, max_steps);
}

std::string bar(int64_t step, int64_t max_steps) {
  constexpr int64_t kWidth = 16;
  const int64_t done = std::clamp<int64_t>(max_steps > 0 ? step * kWidth / max_steps : kWidth, 0, kWidth);
  return fmt::format("[{:#<{}}{:-<{}}]", "", done, "", kWidth - done);
}

}  // namespace

Console::Console(Terminal& terminal, int64_t max_steps, int64_t log_every, double log_seconds,
                 std::function<double()> clock)
    : terminal_(terminal),
      max_steps_(max_steps),
      log_every_(log_every),
      log_seconds_(log_seconds),
      clock_(std::move(clock)),
      time_left_(max_steps) {
  CHECK(log_every_ > 0);
}

Console::~Console() {
  terminal_.clear_status();
}

void Console::write(const Row& row) {
  if (row.find("alert") != nullptr) {
    const Row::Value* text = row.find("alert_text");
    if (text != nullptr && std::holds_alternative<std::string>(*text))
      terminal_.warning(fmt::format("step {}: {}", row.step, std::get<std::string>(*text)));
    return;
  }
  if (row.find("loss")) {
    const auto tokens = row.number("tokens_per_second");
    if (tokens && std::isfinite(*tokens)) tokens_per_second_.add(*tokens);
    const double now = clock_();
    time_left_.at(row.step, now);
    if (terminal_.interactive()) {
      terminal_.status(status_line(row));
    } else if (!last_line_ || row.step == max_steps_ ||
               (row.step % log_every_ == 0 && now - *last_line_ >= log_seconds_)) {
      last_line_ = now;
      terminal_.line(step_line(row));
    }
  }
  if (const auto validation = row.number("validation_loss")) {
    validation_loss_ = validation;
    terminal_.line(validation_line(row));
  }
}

std::string Console::step_line(const Row& row) const {
  return fmt::format("step {}  loss {}  val {}  lr {}  norm {}  {}  balance {}  cv {}  ETA {}",
                     position(row.step, max_steps_), show(row.number("loss"), "{:.4f}"),
                     show(validation_loss_, "{:.4f}"), show(row.number("learning_rate"), "{:.2e}"),
                     show(row.number("gradient_norm"), "{:.3f}"), rate(tokens_per_second_),
                     show(row.number("balance_loss"), "{:.3f}"), show(row.number("expert_load_cv"), "{:.3f}"),
                     time_left(time_left_));
}

// The most wanted first: what does not fit the terminal's width is cut.
std::string Console::status_line(const Row& row) const {
  const double share = max_steps_ > 0 ? static_cast<double>(row.step) / static_cast<double>(max_steps_) : 1;
  return fmt::format("{} {:3.0f}% {}  loss {}  {}  ETA {}  lr {}  balance {}  cv {}  val {}",
                     bar(row.step, max_steps_), 100 * share, position(row.step, max_steps_),
                     show(row.number("loss"), "{:.3f}"), rate(tokens_per_second_), time_left(time_left_),
                     show(row.number("learning_rate"), "{:.1e}"), show(row.number("balance_loss"), "{:.2f}"),
                     show(row.number("expert_load_cv"), "{:.2f}"), show(validation_loss_, "{:.3f}"));
}

std::string Console::validation_line(const Row& row) const {
  const double loss = *validation_loss_;
  return fmt::format("step {}  validation loss {:.4f}  perplexity {:.2f}  bits per byte {}",
                     position(row.step, max_steps_), loss,
                     row.number("validation_perplexity").value_or(std::exp(loss)),
                     show(row.number("validation_bits_per_byte"), "{:.4f}"));
}

}  // namespace moe::metrics
