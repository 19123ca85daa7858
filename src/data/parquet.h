// SPDX-License-Identifier: MIT
// A column of text in a Parquet file, one row group at a time: only the bytes of that column, and of those
// that filters need, are read. None of Arrow shows here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/complaints.h"
#include "data/data_file.h"
#include "data/filter.h"
#include "data/source.h"

namespace moe::data {

// Reading is safe from many threads. Every failure, damaged files included, is a UserError naming file and
// row group.
class ParquetColumn {
 public:
  // A row group with more text than this is refused: a few bytes of a damaged file can stand for any amount.
  static constexpr int64_t kMostBytes = int64_t{16} << 30;

  // Reads the footer. column: the name of a string column, "a.b" for field b of struct a; the error for a
  // wrong one lists those there are, and likewise for the columns of filters.
  ParquetColumn(DataFilePtr file, const std::string& column, const Filters& filters = {},
                int64_t most_bytes = kMostBytes);
  ~ParquetColumn();

  int64_t row_groups() const;
  int64_t rows(int64_t row_group) const;   // all, filtered or not
  int64_t bytes(int64_t row_group) const;  // of the column, decompressed
  // Adds the texts of one row group in order; nulls, and rows that do not pass the filters, are skipped.
  void read(int64_t row_group, Documents& documents) const;

 private:
  struct State;
  std::unique_ptr<const State> state_;
};

// "name type" of every column.
std::vector<std::string> parquet_schema(const DataFilePtr& file);

// A file without a column that is needed, or with another type there, is a UserError, or bad rows of which
// complaints say what becomes of them: then it has no units.
std::unique_ptr<Source> parquet_source(const DataFilePtr& file, const std::string& column,
                                       const Filters& filters = {}, Complaints* complaints = nullptr);

}  // namespace moe::data
