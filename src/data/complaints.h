// SPDX-License-Identifier: MIT
// What is said about a text while it is read: rows that cannot be read (data.bad_rows says what becomes of
// them), and hints, each kind once. Shared by the readers of all files of a source; safe to call from many
// threads.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "base/terminal.h"
#include "data/config.h"

namespace moe::data {

// A row that cannot be read, without its place.
struct BadRow {
  std::string expected, found, hint;
};

class Complaints {
 public:
  // The terminal must outlive it. The destructor says how many rows were left out.
  Complaints(const DataConfig& config, Terminal& terminal);
  ~Complaints();
  Complaints(const Complaints&) = delete;
  Complaints& operator=(const Complaints&) = delete;

  // Returns where the row is to be left out, and throws the UserError of it where it is not, or where more
  // than data.bad_rows_limit were. A row counts once, however often it is read. place: asked only for what is
  // said; offset tells the rows of a file apart. rows: how many this stands for.
  using Place = std::function<std::string()>;
  void bad_row(const std::string& file, int64_t offset, const BadRow& row, const Place& place,
               int64_t rows = 1);

  // "file: words", the first time that such words come.
  void hint(const std::string& file, const std::string& words);

 private:
  static constexpr int64_t kShown = 5;  // places

  const BadRows bad_rows_;
  const int64_t limit_;
  Terminal& terminal_;
  std::mutex mutex_;  // guards all below
  std::set<std::pair<std::string, int64_t>> left_out_;
  int64_t rows_ = 0, shown_ = 0;
  std::set<std::string> hints_;
};

}  // namespace moe::data
