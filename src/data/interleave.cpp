// SPDX-License-Identifier: MIT
#include "data/interleave.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

#include "base/error.h"
#include "data/config.h"
#include "data/held_out.h"
#include "data/order.h"

namespace moe::data {
namespace {

// The largest divisor of `of` that is at most `most`, at least 1.
int64_t divisor(int64_t of, int64_t most) {
  int64_t d = std::clamp<int64_t>(most, 1, of);
  while (of % d != 0) --d;
  return d;
}

}  // namespace

Layout layout(const Source& source, const DataConfig& config, Part part) {
  Layout result;
  if (part != Part::train) {
    result.shares.emplace_back();
    return result;
  }
  const auto shares = source.shares();
  std::vector<int64_t> most;  // streams of each share
  most.reserve(shares.size());
  for (const Share& share : shares)
    most.push_back((share.end - share.begin - std::ssize(held_out(source, share, config).units)) /
                   kUnitsPerStream);
  result.columns = 1;
  for (const int64_t count : most) result.columns = std::max(result.columns, divisor(config.streams, count));
  int64_t first = 0;
  for (size_t p = 0; p < shares.size(); ++p) {
    const int64_t count = divisor(result.columns, most[p]);
    result.shares.push_back({first, count, shares[p].weight});
    first += count;
  }
  return result;
}

Interleave::Interleave(Layout layout, const Cursor& start) : layout_(std::move(layout)) {
  const auto& streams = start.streams;
  turns_.resize(layout_.shares.size(), 0);
  if (!streams.empty() && static_cast<int64_t>(streams.size()) != layout_.streams())
    throw UserError("data cursor", fmt::format("{} streams", layout_.streams()),
                    fmt::format("{}", streams.size()),
                    fmt::format("a resumed run needs data.streams and the data of the run that wrote the "
                                "checkpoint (data.streams = {}, perhaps)",
                                streams.size()));
  for (size_t p = 0; p < layout_.shares.size() && !streams.empty(); ++p) {
    int64_t rows = 0;
    for (int64_t s = 0; s < layout_.shares[p].count; ++s)
      rows += streams[static_cast<size_t>(layout_.shares[p].first + s)].rows;
    row_ += rows;
    turns_[p] = rows / layout_.columns;
    if (rows % layout_.columns != 0) share_ = p;  // its turn is not over
  }
}

// Weights are integers: the same on every machine.
int64_t Interleave::furthest_behind() const {
  int64_t all = 0, turns = 0;
  for (size_t p = 0; p < turns_.size(); ++p) {
    all += layout_.shares[p].weight;
    turns += turns_[p];
  }
  size_t best = 0;
  int64_t most = std::numeric_limits<int64_t>::min();
  for (size_t p = 0; p < turns_.size(); ++p) {
    const int64_t behind = layout_.shares[p].weight * (turns + 1) - turns_[p] * all;
    if (behind > most) best = p;
    most = std::max(most, behind);
  }
  return static_cast<int64_t>(best);
}

Interleave::Row Interleave::next() {
  const int64_t column = row_ % layout_.columns;
  if (column == 0) share_ = static_cast<size_t>(furthest_behind());
  const ShareStreams& share = layout_.shares[share_];
  ++row_;
  if (row_ % layout_.columns == 0) ++turns_[share_];
  return {column, share.first + column * share.count / layout_.columns};
}

std::vector<int64_t> Interleave::epochs(const Cursor& at, std::span<const int64_t> streams) const {
  std::vector<int64_t> least(layout_.shares.size(), std::numeric_limits<int64_t>::max());
  for (size_t p = 0; p < least.size(); ++p)
    for (const int64_t s : streams)
      if (s >= layout_.shares[p].first && s < layout_.shares[p].first + layout_.shares[p].count)
        least[p] = std::min(least[p], at.streams.empty() ? 0 : at.streams[static_cast<size_t>(s)].epoch);
  return least;
}

std::vector<int64_t> Interleave::read_by(int64_t rank, int64_t world, int64_t rows) const {
  std::set<int64_t> streams;
  const int64_t L = layout_.columns;
  // Where in a turn a batch begins repeats after at most L batches.
  for (int64_t begin = row_ % L, batch = 0; batch < L; ++batch) {
    std::vector<int64_t> columns;
    for (int64_t i = 0; i < world * rows; ++i) columns.push_back((begin + i) % L);
    for (const int64_t i : rows_of_rank(columns, rank, world))
      for (const ShareStreams& share : layout_.shares)
        streams.insert(share.first + columns[static_cast<size_t>(i)] * share.count / L);
    begin = (begin + world * rows) % L;
  }
  return {streams.begin(), streams.end()};
}

std::vector<int64_t> rows_of_rank(const std::vector<int64_t>& columns, int64_t rank, int64_t world) {
  std::vector<int64_t> order(columns.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return columns[static_cast<size_t>(a)] < columns[static_cast<size_t>(b)];
  });
  const auto each = static_cast<std::ptrdiff_t>(columns.size()) / world;
  return {order.begin() + rank * each, order.begin() + (rank + 1) * each};
}

}  // namespace moe::data
