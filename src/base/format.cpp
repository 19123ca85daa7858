// SPDX-License-Identifier: MIT
#include "base/format.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string_view>

namespace moe {
namespace {

// Three significant digits, never an exponent: 1.73, 17.3, 173, 1730.
std::string three_digits(double value) {
  const double size = std::fabs(value);
  return fmt::format("{:.{}f}", value, size < 9.995 ? 2 : size < 99.95 ? 1 : 0);
}

std::string scaled(double value, double step, const std::array<std::string_view, 5>& units) {
  if (!std::isfinite(value)) return fmt::format("{}", value);
  size_t unit = 0;
  // 999.5 would print as 1000 of the smaller unit
  while (unit + 1 < units.size() && std::fabs(value) >= (step == 1000 ? 999.5 : 1023.5)) {
    value /= step;
    ++unit;
  }
  const bool whole = unit == 0 && value == std::floor(value);
  std::string text = whole ? fmt::format("{:.0f}", value) : three_digits(value);
  if (!units[unit].empty()) text += fmt::format(" {}", units[unit]);
  return text;
}

}  // namespace

std::string format_count(double count) {
  return scaled(count, 1000, {"", "K", "M", "B", "T"});
}

std::string format_bytes(double bytes) {
  return scaled(bytes, 1024, {"B", "KiB", "MiB", "GiB", "TiB"});
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return fmt::format("{} s", seconds);
  if (seconds == 0) return "0 s";
  if (seconds < 0.9995e-3) return three_digits(seconds * 1e6) + " us";
  if (seconds < 0.9995) return three_digits(seconds * 1e3) + " ms";
  if (seconds < 59.95) return three_digits(seconds) + " s";
  const double whole = std::round(seconds), minutes = std::round(seconds / 60),
               hours = std::round(seconds / 3600);
  if (whole < 3600) return fmt::format("{:.0f} min {:02.0f} s", std::floor(whole / 60), std::fmod(whole, 60));
  if (minutes < 1440)
    return fmt::format("{:.0f} h {:02.0f} min", std::floor(minutes / 60), std::fmod(minutes, 60));
  return fmt::format("{:.0f} d {:02.0f} h", std::floor(hours / 24), std::fmod(hours, 24));
}

}  // namespace moe
