// SPDX-License-Identifier: MIT
#include "data/order.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "data/config.h"

namespace moe {
namespace {

uint32_t count32(int64_t count) {
  CHECK(count >= 0 && count < (int64_t{1} << 32), "more than 2^32 units or documents");
  return static_cast<uint32_t>(count);
}

// Sorted numbers of the held-out units. No seed: runs with different seeds must hold out the same text.
std::vector<int64_t> held_out(const Source& source, const DataConfig& config) {
  const auto order = Random(0, "data/held-out").permutation(count32(source.units()));
  std::vector<int64_t> units(order.begin(), order.begin() + held_out_units(source, config));
  std::sort(units.begin(), units.end());
  return units;
}

}  // namespace

int64_t held_out_units(const Source& source, const DataConfig& config) {
  const int64_t units = source.units();
  if (units < 2 || config.validation_fraction <= 0 || !config.validation_source.empty()) return 0;
  return std::clamp<int64_t>(std::llround(config.validation_fraction * static_cast<double>(units)), 1,
                             units - 1);
}

Order::Order(std::shared_ptr<const Source> source, const DataConfig& config, uint64_t seed, Part part)
    : source_(std::move(source)),
      window_bytes_(config.shuffle_window_mb << 20),
      seed_(seed),
      endless_(part == Part::train),
      shuffle_(config.shuffle && (part == Part::train || part == Part::validation_sample)) {
  std::vector<int64_t> all(count32(source_->units()));
  std::iota(all.begin(), all.end(), 0);
  if (part == Part::all) {
    units_ = std::move(all);
  } else if (part == Part::validation || part == Part::validation_sample) {
    units_ = held_out(*source_, config);
  } else {
    const auto without = held_out(*source_, config);
    std::set_difference(all.begin(), all.end(), without.begin(), without.end(), std::back_inserter(units_));
  }
}

Order::Epoch Order::epoch(int64_t epoch) const {
  Epoch result{units_, {}};
  if (shuffle_) {
    const Random random(seed_, fmt::format("data/units/{}", epoch));
    const auto order = random.permutation(count32(static_cast<int64_t>(units_.size())));
    for (size_t i = 0; i < order.size(); ++i) result.units[i] = units_[order[i]];
  }
  int64_t bytes = 0;
  for (size_t i = 0; i < result.units.size(); ++i) {
    if (i == 0 || bytes >= window_bytes_) {
      result.begin.push_back(static_cast<int64_t>(i));
      bytes = 0;
    }
    bytes += source_->unit_bytes(result.units[i]);
  }
  result.begin.push_back(static_cast<int64_t>(result.units.size()));
  return result;
}

std::vector<uint32_t> Order::documents(int64_t epoch, int64_t window, uint32_t count) const {
  if (shuffle_) return Random(seed_, fmt::format("data/documents/{}/{}", epoch, window)).permutation(count);
  std::vector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0u);
  return order;
}

}  // namespace moe
