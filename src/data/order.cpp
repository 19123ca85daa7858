// SPDX-License-Identifier: MIT
#include "data/order.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "data/config.h"
#include "data/lanes.h"

namespace moe {
namespace {

uint32_t count32(int64_t count) {
  CHECK(count >= 0 && count < (int64_t{1} << 32), "more than 2^32 units or documents");
  return static_cast<uint32_t>(count);
}

// Adds the sorted numbers of a share's held-out units. No seed: runs with different seeds must hold out the same
// text.
void add_held_out(const Share& share, const DataConfig& config, std::vector<int64_t>& units) {
  const auto order = Random(0, "data/held-out").permutation(count32(share.end - share.begin));
  std::vector<int64_t> chosen(order.begin(), order.begin() + held_out_units(share, config));
  std::sort(chosen.begin(), chosen.end());
  for (const int64_t unit : chosen) units.push_back(share.begin + unit);
}

}  // namespace

int64_t held_out_units(const Share& share, const DataConfig& config) {
  const int64_t units = share.end - share.begin;
  if (units < 2 || config.validation_fraction <= 0 || !config.validation_source.empty()) return 0;
  return std::clamp<int64_t>(std::llround(config.validation_fraction * static_cast<double>(units)), 1,
                             units - 1);
}

int64_t held_out_units(const Source& source, const DataConfig& config) {
  int64_t sum = 0;
  for (const Share& share : source.shares()) sum += held_out_units(share, config);
  return sum;
}

Order::Order(std::shared_ptr<const Source> source, const DataConfig& config, uint64_t seed, Part part,
             int64_t stream)
    : source_(std::move(source)),
      seed_(seed),
      endless_(part == Part::train),
      shuffle_(config.shuffle && (part == Part::train || part == Part::validation_sample)) {
  const Layout streams = layout(*source_, config, part);
  CHECK(stream >= 0 && stream < streams.streams());
  while (stream >= streams.shares[static_cast<size_t>(share_)].first +
                       streams.shares[static_cast<size_t>(share_)].count)
    ++share_;
  const ShareStreams& mine = streams.shares[static_cast<size_t>(share_)];
  stream_ = stream - mine.first;
  streams_ = mine.count;
  window_bytes_ = (config.shuffle_window_mb << 20) / streams.streams();

  std::vector<Share> shares = source_->shares();
  if (part == Part::train) shares = {shares[static_cast<size_t>(share_)]};
  for (const Share& share : shares) {
    std::vector<int64_t> all(count32(share.end - share.begin)), held_out;
    std::iota(all.begin(), all.end(), share.begin);
    if (part != Part::all) add_held_out(share, config, held_out);
    if (part == Part::validation || part == Part::validation_sample)
      units_.insert(units_.end(), held_out.begin(), held_out.end());
    else
      std::set_difference(all.begin(), all.end(), held_out.begin(), held_out.end(),
                          std::back_inserter(units_));
  }
}

// Those of this stream.
std::vector<int64_t> Order::deal(std::vector<int64_t> units) const {
  if (streams_ == 1) return units;
  std::vector<int64_t> mine, bytes(static_cast<size_t>(streams_), 0);
  for (const int64_t unit : units) {
    const auto least = std::min_element(bytes.begin(), bytes.end());
    *least += std::max<int64_t>(source_->unit_bytes(unit), 1);
    if (least - bytes.begin() == stream_) mine.push_back(unit);
  }
  return mine;
}

Order::Epoch Order::epoch(int64_t epoch) const {
  Epoch result{units_, {}};
  if (shuffle_) {
    const Random random(seed_,
                        fmt::format("data/units/{}{}", epoch, share_ > 0 ? fmt::format("/{}", share_) : ""));
    const auto order = random.permutation(count32(static_cast<int64_t>(units_.size())));
    for (size_t i = 0; i < order.size(); ++i) result.units[i] = units_[order[i]];
  }
  result.units = deal(std::move(result.units));
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
  return permutation("documents", epoch, window, count);
}

std::vector<uint32_t> Order::permutation(const std::string& purpose, int64_t epoch, int64_t window,
                                         uint32_t count) const {
  if (shuffle_) {
    const bool first = share_ == 0 && stream_ == 0;
    const std::string stream = first ? "" : fmt::format("/{}/{}", share_, stream_);
    return Random(seed_, fmt::format("data/{}/{}/{}{}", purpose, epoch, window, stream)).permutation(count);
  }
  std::vector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0u);
  return order;
}

}  // namespace moe
