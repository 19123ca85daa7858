// SPDX-License-Identifier: MIT
#include "text/matches.h"

#include <fmt/core.h>

#include <ctime>

#include "base/error.h"
#include "text/scan.h"

namespace moe::text {

void Matches::begin(std::string_view text) {
  text_ = text;
  at_ = 0;
  found_.reset();
}

std::optional<Segment> Matches::next() {
  if (!found_) {
    found_ = find();
    const size_t begin = found_ ? found_->begin : text_.size();
    if (begin != at_) return Segment{at_ = begin, false};
    if (!found_) return std::nullopt;
  }
  at_ = found_->end;
  found_.reset();
  return Segment{at_, true};
}

void Budget::check(const std::string& where, size_t at) {
  if (++asked_ % 4 != 0 || now() < end_) return;
  throw UserError(where, "a pattern that takes less than ten seconds for a megabyte",
                  fmt::format("more, up to byte {} of a text", at), "docs/tokenizers.md says what is read");
}

double Budget::now() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void RegexMatches::begin(std::string_view text) {
  Matches::begin(text);
  search_.begin(text);
  from_ = 0;
  last_ = std::string_view::npos;
}

std::optional<Regex::Match> RegexMatches::find() {
  while (from_ <= text().size()) {
    budget_.check(regex_.where(), from_);
    const std::optional<Regex::Match> match = search_.find(from_);
    from_ = match ? match->end : text().size() + 1;
    if (!match) break;
    if (match->begin == match->end) {
      from_ = from_ < text().size() ? Scan(text()).after(from_) : from_ + 1;
      if (match->end == last_) continue;
    }
    last_ = match->end;
    return match;
  }
  return std::nullopt;
}

std::optional<Regex::Match> TextMatches::find() {
  const size_t begin = text().find(wanted_, at());
  if (begin == std::string_view::npos) return std::nullopt;
  return Regex::Match{begin, begin + wanted_.size()};
}

}  // namespace moe::text
