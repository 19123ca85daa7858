// SPDX-License-Identifier: MIT
#include "data/held_out.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/error.h"
#include "base/format.h"
#include "base/random.h"

namespace moe::data {
namespace {

// How far from the share asked for a choice of whole units may be.
constexpr double kNear = 0.1;

std::vector<uint32_t> order_of_units(const Share& share) {
  const int64_t units = share.end - share.begin;
  CHECK(units >= 0 && units < (int64_t{1} << 32), "more than 2^32 units");
  return Random(0, "data/held-out").permutation(static_cast<uint32_t>(units));
}

// data.rules 1.
HeldOut by_units(const Share& share, double fraction) {
  HeldOut result;
  const int64_t units = share.end - share.begin;
  if (units < 2) return result;
  const auto count = std::clamp<int64_t>(std::llround(fraction * static_cast<double>(units)), 1, units - 1);
  const auto order = order_of_units(share);
  for (int64_t i = 0; i < count; ++i) result.units.push_back(share.begin + order[static_cast<size_t>(i)]);
  std::sort(result.units.begin(), result.units.end());
  return result;
}

HeldOut by_bytes(const Source& source, const Share& share, double fraction) {
  HeldOut result;
  double all = 0;
  for (int64_t unit = share.begin; unit < share.end; ++unit)
    all += static_cast<double>(source.unit_bytes(unit));
  double wanted = fraction * all;
  // Less than what training keeps, so that it keeps some.
  const double near = kNear * std::min(wanted, all - wanted);
  for (const uint32_t number : order_of_units(share)) {
    const int64_t unit = share.begin + number;
    const auto bytes = static_cast<double>(source.unit_bytes(unit));
    if (bytes <= std::min(wanted + near, 2 * wanted)) {
      result.units.push_back(unit);
      wanted -= bytes;
      continue;
    }
    if (wanted > near) {
      result.cut = unit;
      result.tail = wanted / bytes;
    }
    break;
  }
  std::sort(result.units.begin(), result.units.end());
  return result;
}

}  // namespace

double HeldOut::bytes(const Source& source) const {
  double sum = cut < 0 ? 0 : tail * static_cast<double>(source.unit_bytes(cut));
  for (const int64_t unit : units) sum += static_cast<double>(source.unit_bytes(unit));
  return sum;
}

HeldOut held_out(const Source& source, const Share& share, const DataConfig& config) {
  if (config.validation_fraction <= 0 || !config.validation_source.empty()) return {};
  return config.rules == 1 ? by_units(share, config.validation_fraction)
                           : by_bytes(source, share, config.validation_fraction);
}

bool has_validation(const Source& source, const DataConfig& config) {
  const auto shares = source.shares();
  return std::any_of(shares.begin(), shares.end(),
                     [&](const Share& share) { return !held_out(source, share, config).empty(); });
}

std::string describe_held_out(const Source& source, const DataConfig& config) {
  double bytes = 0;
  int64_t whole = 0, cut = 0;
  for (const Share& share : source.shares()) {
    const HeldOut part = held_out(source, share, config);
    bytes += part.bytes(source);
    whole += std::ssize(part.units);
    cut += part.cut < 0 ? 0 : 1;
  }
  const auto all = static_cast<double>(source.bytes());
  return fmt::format("{:.3g} % of the text, {}: {} of {} units{}", all > 0 ? 100 * bytes / all : 0,
                     format_bytes(bytes), whole, source.units(),
                     cut == 0   ? ""
                     : cut == 1 ? " and the end of another"
                                : fmt::format(" and the ends of {} others", cut));
}

}  // namespace moe::data
