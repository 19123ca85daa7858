// SPDX-License-Identifier: MIT
// A column of text in a Parquet file, one row group at a time. The only file of ours that knows Arrow is
// parquet.cpp; none of Arrow shows here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "data/source.h"

namespace moe {

// Reading is safe from many threads. Every failure, damaged files included, is a UserError naming file and
// row group.
class ParquetColumn {
 public:
  // A row group with more text than this is refused: a few bytes of a damaged file can stand for any amount.
  static constexpr int64_t kMostBytes = int64_t{16} << 30;

  // column: the name of a string column, "a.b" for field b of struct a; the error for a wrong one lists those
  // there are.
  ParquetColumn(const std::filesystem::path& path, const std::string& column);
  // The same over bytes in memory, which must outlive it.
  ParquetColumn(const std::string& name, std::string_view bytes, const std::string& column,
                int64_t most_bytes = kMostBytes);
  ~ParquetColumn();

  int64_t row_groups() const;
  int64_t rows(int64_t row_group) const;
  int64_t bytes(int64_t row_group) const;  // of the column, decompressed
  // Adds the texts of one row group in order; nulls are skipped.
  void read(int64_t row_group, Documents& documents) const;

 private:
  struct State;
  std::unique_ptr<const State> state_;
};

std::unique_ptr<Source> parquet_source(const std::filesystem::path& path, const std::string& column);

}  // namespace moe
