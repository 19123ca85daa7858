// SPDX-License-Identifier: MIT
// Reads metrics.jsonl back into rows, also while it is being written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>
#include <utility>

#include "metrics/row.h"

namespace moe::report {

// Lines of metrics.jsonl as rows, in order. Any bytes are fine: a line that is no such row (torn, damaged,
// from another program) is counted, not shown; "NaN", "Infinity" and "-Infinity" are numbers again.
class RowParser {
 public:
  // bytes: any number of lines. The last one counts as a line only if it ends with a newline, or `whole` says
  // that nothing will follow. Returns how many bytes have been dealt with.
  size_t parse(std::string_view bytes, bool whole, const std::function<void(const metrics::Row&)>& each);
  int64_t unreadable() const { return unreadable_; }

 private:
  static bool parse_line(std::string_view line, metrics::Row& row);
  int64_t unreadable_ = 0;
};

// A file that grows.
class RowFile {
 public:
  explicit RowFile(std::filesystem::path path) : path_(std::move(path)) {}
  // Rows that came since the last call. restart: called first when another file is in its place or it became
  // shorter (a resumed run has cut it): what was read before is void. A file that is not there yet has no
  // rows.
  void read(const std::function<void()>& restart, const std::function<void(const metrics::Row&)>& each);
  int64_t unreadable() const { return parser_.unreadable(); }

 private:
  std::filesystem::path path_;
  RowParser parser_;
  uint64_t position_ = 0;
  uint64_t file_ = 0;  // its inode
};

}  // namespace moe::report
