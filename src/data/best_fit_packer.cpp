// SPDX-License-Identifier: MIT
#include "data/best_fit_packer.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"

namespace moe::data {

std::vector<std::vector<PackedPart>> best_fit(std::span<const size_t> places, size_t length) {
  std::vector<std::vector<PackedPart>> rows;
  std::vector<PackedPart> parts;
  for (size_t d = 0; d < places.size(); ++d) {
    size_t from = 0;
    for (; places[d] - from >= length; from += length) rows.push_back({{d, from, length}});
    if (from < places[d]) parts.push_back({d, from, places[d] - from});
  }
  std::stable_sort(parts.begin(), parts.end(),
                   [](const PackedPart& a, const PackedPart& b) { return a.places > b.places; });
  std::map<size_t, std::vector<size_t>> with_room;  // places left -> rows
  for (const PackedPart& part : parts) {
    const auto tightest = with_room.lower_bound(part.places);
    size_t row = rows.size(), left = length;
    if (tightest == with_room.end()) {
      rows.emplace_back();
    } else {
      left = tightest->first;
      row = tightest->second.back();
      tightest->second.pop_back();
      if (tightest->second.empty()) with_room.erase(tightest);
    }
    rows[row].push_back(part);
    if (left > part.places) with_room[left - part.places].push_back(row);
  }
  return rows;
}

BestFitPacker::BestFitPacker(const Options& options, NextPiece next, RowOrder row_order,
                             const StreamCursor& start)
    : Packer(start),
      options_(options),
      next_(std::move(next)),
      row_order_(std::move(row_order)),
      start_row_(start.document) {}

bool BestFitPacker::next_window() {
  tokens_.clear();
  std::optional<TokenPiece> piece;
  do {
    piece = next_();
    if (!piece) return false;
    auto begin = piece->ids.begin();
    for (const int64_t end : piece->ends) {
      tokens_.emplace_back(begin, piece->ids.begin() + end);
      begin = piece->ids.begin() + end;
    }
  } while (!piece->last);
  std::vector<size_t> places;
  places.reserve(tokens_.size());
  for (const auto& tokens : tokens_) places.push_back(tokens.size());
  rows_ = best_fit(places, static_cast<size_t>(options_.length));
  order_ = row_order_(piece->epoch, piece->window, static_cast<uint32_t>(rows_.size()));
  next_row_ = static_cast<size_t>(std::max<int64_t>(std::exchange(start_row_, -1), 0));
  if (next_row_ > rows_.size())
    throw UserError("data cursor", fmt::format("row {}", next_row_), fmt::format("{} of them", rows_.size()),
                    "the data or its settings differ from those of the run that wrote the checkpoint");
  cursor_.epoch = piece->epoch;
  cursor_.window = piece->window;
  cursor_.whole = piece->whole ? 1 : 0;
  return true;
}

bool BestFitPacker::fill(BatchRow& row) {
  while (next_row_ >= rows_.size())
    if (!next_window()) return false;
  size_t at = 0;
  for (const PackedPart& part : rows_[order_[next_row_]]) {
    const auto& tokens = tokens_[part.document];
    put_document(tokens, part.from, part.places, at, options_.mask ? static_cast<int32_t>(at) : 0,
                 options_.end_of_text, row);
    if (part.from + part.places == tokens.size()) ++cursor_.documents;
    at += part.places;
  }
  cursor_.document = static_cast<int64_t>(++next_row_);
  count(row);
  return true;
}

}  // namespace moe::data
