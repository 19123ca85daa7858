// SPDX-License-Identifier: MIT
#include "data/source.h"

#include <fmt/format.h>

#include <numeric>

#include "base/error.h"

namespace moe {

std::string_view Documents::text(int64_t i) const {
  const Span& span = spans_.at(static_cast<size_t>(i));
  if (!span.is_text) return {};
  return std::string_view(text_).substr(span.begin, span.end - span.begin);
}

std::span<const uint16_t> Documents::ids(int64_t i) const {
  const Span& span = spans_.at(static_cast<size_t>(i));
  if (span.is_text) return {};
  return std::span(ids_).subspan(span.begin, span.end - span.begin);
}

void Documents::add_text(std::string_view text, std::string_view ending) {
  if (text.empty()) return;
  const size_t begin = text_.size();
  text_.append(text).append(ending);
  spans_.push_back({begin, text_.size(), true});
}

void Documents::add_ids(std::span<const uint16_t> ids) {
  if (ids.empty()) return;
  const size_t begin = ids_.size();
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  spans_.push_back({begin, ids_.size(), false});
}

void Documents::clear() {
  text_.clear();
  ids_.clear();
  spans_.clear();
}

int64_t Source::bytes() const {
  int64_t sum = 0;
  for (int64_t unit = 0; unit < units(); ++unit) sum += unit_bytes(unit);
  return sum;
}

}  // namespace moe
