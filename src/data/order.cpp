// SPDX-License-Identifier: MIT
#include "data/order.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "data/config.h"
#include "data/held_out.h"
#include "data/interleave.h"

namespace moe::data {
namespace {

uint32_t count32(int64_t count) {
  CHECK(count >= 0 && count < (int64_t{1} << 32), "more than 2^32 units or documents");
  return static_cast<uint32_t>(count);
}

}  // namespace

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
  held_out_ = part == Part::validation || part == Part::validation_sample;
  for (const Share& share : shares) {
    const HeldOut away = part == Part::all ? HeldOut() : held_out(*source_, share, config);
    if (away.cut >= 0) cuts_.emplace_back(away.cut, away.tail);
    std::vector<int64_t> units = away.units;
    if (held_out_) {
      if (away.cut >= 0) units.insert(std::upper_bound(units.begin(), units.end(), away.cut), away.cut);
      units_.insert(units_.end(), units.begin(), units.end());
      continue;
    }
    std::vector<int64_t> all(count32(share.end - share.begin));
    std::iota(all.begin(), all.end(), share.begin);
    std::set_difference(all.begin(), all.end(), units.begin(), units.end(), std::back_inserter(units_));
  }
}

Documents Order::read(int64_t unit) const {
  Documents documents;
  source_->read(unit, documents);
  for (const auto& [cut, tail] : cuts_)
    if (cut == unit) documents.keep_part(tail, held_out_);
  return documents;
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

Order::Epoch Order::epoch(int64_t epoch, bool whole) const {
  Epoch result{units_, {}};
  if (shuffle_) {
    std::string purpose = fmt::format("data/units/{}{}", epoch, share_ > 0 ? fmt::format("/{}", share_) : "");
    if (whole) purpose += fmt::format("/whole/{}", stream_);
    const auto order = Random(seed_, purpose).permutation(count32(static_cast<int64_t>(units_.size())));
    for (size_t i = 0; i < order.size(); ++i) result.units[i] = units_[order[i]];
  } else if (whole) {  // not in step with another stream
    const auto each = std::ssize(units_) / streams_;
    std::rotate(result.units.begin(), result.units.begin() + stream_ * each, result.units.end());
  }
  if (!whole) result.units = deal(std::move(result.units));
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

}  // namespace moe::data
