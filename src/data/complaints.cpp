// SPDX-License-Identifier: MIT
#include "data/complaints.h"

#include <fmt/format.h>

#include "base/error.h"
#include "data/config.h"

namespace moe::data {

Complaints::Complaints(const DataConfig& config, Terminal& terminal)
    : bad_rows_(config.bad_rows), limit_(config.bad_rows_limit), terminal_(terminal) {}

Complaints::~Complaints() {
  if (rows_ > 0)
    terminal_.warning(fmt::format("{} rows that cannot be read were left out (data.bad_rows)", rows_));
}

void Complaints::bad_row(const std::string& file, int64_t offset, const BadRow& row, const Place& place,
                         int64_t rows) {
  switch (bad_rows_) {
    case BadRows::stop: {
      const std::string also = "data.bad_rows=skip leaves such rows out";
      throw UserError(place(), row.expected, row.found, row.hint.empty() ? also : row.hint + "; " + also);
    }
    case BadRows::skip:
      break;
  }
  {
    const std::lock_guard lock(mutex_);
    if (!left_out_.emplace(file, offset).second) return;
    rows_ += rows;
    if (rows_ <= limit_ && ++shown_ > kShown) return;
  }
  const std::string where = place();
  const std::lock_guard lock(mutex_);
  if (rows_ > limit_)
    throw UserError(
        where, fmt::format("at most {} rows that cannot be read (data.bad_rows_limit)", limit_),
        fmt::format("{}, the last of which has {} where {} is expected", rows_, row.found, row.expected),
        row.hint);
  terminal_.warning(fmt::format("{}: left out: expected {}, found {}{}", where, row.expected, row.found,
                                shown_ >= kShown ? "; further ones are only counted" : ""));
}

void Complaints::hint(const std::string& file, const std::string& words) {
  const std::lock_guard lock(mutex_);
  const size_t kind = words.find_first_not_of("0123456789 ");  // a number in front does not make another hint
  if (hints_.insert(words.substr(std::min(kind, words.size()))).second)
    terminal_.warning(file + ": " + words);
}

}  // namespace moe::data
