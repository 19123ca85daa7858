// SPDX-License-Identifier: MIT
#include "data/source.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/parse_number.h"

namespace moe::data {
namespace {

// At or a little before `byte` of a text: behind a line, else behind a word, else between two characters. Of
// tokens (no text): there.
int64_t good_cut(std::string_view text, int64_t byte) {
  if (text.empty()) return byte;
  constexpr int64_t kBack = 4096;
  const int64_t least = std::max<int64_t>(0, byte - kBack);
  for (const char* ends : {"\n", " "})
    for (int64_t at = byte; at > least; --at)
      if (text[static_cast<size_t>(at - 1)] == *ends) return at;
  while (byte > 0 && byte < std::ssize(text) &&
         (static_cast<uint8_t>(text[static_cast<size_t>(byte)]) & 0xC0) == 0x80)
    --byte;
  return byte;
}

}  // namespace

std::string_view Documents::text(int64_t i) const {
  const Span& span = spans_.at(static_cast<size_t>(i));
  if (!span.is_text) return {};
  return std::string_view(text_).substr(span.begin, span.end - span.begin);
}

std::span<const text::TokenId> Documents::ids(int64_t i) const {
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

void Documents::add_ids(std::span<const text::TokenId> ids) {
  if (ids.empty()) return;
  const size_t begin = ids_.size();
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  spans_.push_back({begin, ids_.size(), false});
}

void Documents::add_conversation(std::span<const text::TokenId> marked) {
  add_ids(marked);
  whole_ = true;
}

// Keeps what is before the byte of a document, or from it on.
void Documents::cut(size_t document, int64_t byte, bool keep_tail) {
  Span& span = spans_[document];
  const size_t at = span.begin + static_cast<size_t>(span.is_text ? byte : byte / kBytesOfId);
  if (keep_tail) {
    span.begin = at;
    spans_.erase(spans_.begin(), spans_.begin() + static_cast<std::ptrdiff_t>(document));
  } else {
    span.end = at;
    spans_.erase(spans_.begin() + static_cast<std::ptrdiff_t>(document) + 1, spans_.end());
  }
  std::erase_if(spans_, [](const Span& s) { return s.begin == s.end; });
}

void Documents::keep_part(double tail, bool keep_tail) {
  int64_t all = 0;
  for (int64_t i = 0; i < size(); ++i) all += bytes(i);
  if (all == 0) return;
  const double wanted = tail * static_cast<double>(all);
  const int64_t middle = std::clamp<int64_t>(all - std::llround(wanted), 0, all - 1);
  int64_t document = 0, begin = 0;  // the one that holds the middle
  while (begin + bytes(document) <= middle) begin += bytes(document++);
  const int64_t end = begin + bytes(document);
  const int64_t nearest = 2 * (middle - begin) < end - begin ? begin : end;
  if (whole_) {
    const auto first = spans_.begin() + static_cast<std::ptrdiff_t>(document + (nearest == end ? 1 : 0));
    keep_tail ? spans_.erase(spans_.begin(), first) : spans_.erase(first, spans_.end());
    return;
  }
  const bool between =
      nearest > 0 && nearest < all && std::abs(static_cast<double>(all - nearest) - wanted) <= wanted / 2;
  cut(static_cast<size_t>(document), between ? nearest - begin : good_cut(text(document), middle - begin),
      keep_tail);
}

void Documents::clear() {
  text_.clear();
  ids_.clear();
  spans_.clear();
  whole_ = false;
}

bool is_identity_of(const std::string& identity, const Source& source) {
  return identity == (units_of_identity(identity) > 0 ? source.identity() : source.old_identity());
}

int64_t units_of_identity(const std::string& identity) {
  // "2 UNITS HASH"; version 0.1 wrote a hash alone.
  if (!identity.starts_with("2 ")) return 0;
  return parse_number<int64_t>(std::string_view(identity).substr(2, identity.find(' ', 2) - 2)).value_or(0);
}

int64_t Source::bytes() const {
  int64_t sum = 0;
  for (int64_t unit = 0; unit < units(); ++unit) sum += unit_bytes(unit);
  return sum;
}

}  // namespace moe::data
