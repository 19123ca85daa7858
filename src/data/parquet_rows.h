// SPDX-License-Identifier: MIT
// Whole rows of a Parquet file: conversations, and the items of an evaluation. Texts to train on go through
// data/parquet.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/data_file.h"

namespace moe::data {

struct RowLimits {
  int64_t rows = int64_t{1} << 20, values = int64_t{1} << 24, bytes = int64_t{1} << 30;
};

// Rows as JSON objects, each on one line, as a file of JSON lines would have it: texts, numbers, true and
// false, structs, lists of these. Of columns with one of `names` (none named: all), with all that is in them.
// What is null is left out, and so are columns of other types (lists inside of lists among them). Bytes of a
// text that are not UTF-8 become U+FFFD.
class ParquetRowReader {
 public:
  // Reads the footer. Throws UserError for a damaged file and for one without such columns.
  ParquetRowReader(DataFilePtr file, const std::vector<std::string>& names);
  ~ParquetRowReader();

  int64_t row_groups() const;
  int64_t rows(int64_t row_group) const;
  int64_t bytes(int64_t row_group) const;  // of these columns, decompressed
  // limit: at most so many rows. Throws UserError for a damaged file, and for one that goes beyond `left`,
  // which becomes less by what was read. Safe to call from many threads, each with its own `left`.
  std::vector<std::string> read(int64_t row_group, int64_t limit, RowLimits& left) const;
  std::vector<std::string> read(int64_t row_group) const;

 private:
  struct State;
  std::unique_ptr<const State> state_;
};

// The first `limit` rows (0: all) of a whole file.
std::vector<std::string> parquet_rows(const DataFilePtr& file, const std::vector<std::string>& names = {},
                                      int64_t limit = 0, const RowLimits& most = {});

}  // namespace moe::data
