// SPDX-License-Identifier: MIT
// What every reader of Parquet here needs of Arrow: which columns are what, the footer, the bytes of some
// columns of a row group, and the values of a flat column. Internal to the readers of Parquet in data/.
#pragma once

#include <parquet/column_reader.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/schema.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/input.h"
#include "data/arrow_slices.h"
#include "data/data_file.h"

namespace moe::data {

using Slices = std::shared_ptr<ArrowSlices>;

// Of values, however often a row has them.
bool holds_text(const parquet::ColumnDescriptor& column);
bool holds_numbers(const parquet::ColumnDescriptor& column);  // whole or not
bool is_unsigned(const parquet::ColumnDescriptor& column);
// At most one value a row.
bool is_flat(const parquet::ColumnDescriptor& column);

std::unique_ptr<parquet::ParquetFileReader> open_reader(const Slices& slices,
                                                        std::shared_ptr<parquet::FileMetaData> metadata);

// Reads the end of the file.
std::shared_ptr<parquet::FileMetaData> read_footer(const DataFile& file);

// The bytes of these columns of a row group.
Slices fetch_columns(const DataFile& file, const std::shared_ptr<parquet::FileMetaData>& metadata,
                     int row_group, const std::vector<int>& columns);

// Throws UserError.
[[noreturn]] void refuse_parquet(const DataFile& file, const std::string& what, const std::string& found);

// Everything Arrow throws becomes a UserError that names the file and `what` of it.
template <class Body>
void guarded(const DataFile& file, const std::string& what, Body&& body) {
  try {
    body();
  } catch (const UserError&) {
    throw;
  } catch (const std::exception& error) {
    refuse_parquet(file, what, error.what());
  }
}

// Calls visit(value or null, definition level, repetition level) for each entry of a column of any nesting.
template <class Type, class Visit>
void for_each_entry(parquet::ColumnReader& column, Visit&& visit) {
  auto& reader = dynamic_cast<parquet::TypedColumnReader<Type>&>(column);
  const int16_t present = reader.descr()->max_definition_level();
  const bool repeated = reader.descr()->max_repetition_level() > 0;
  std::array<int16_t, 1024> levels, repeats;
  std::array<typename Type::c_type, 1024> values;
  repeats.fill(0);
  while (reader.HasNext()) {
    int64_t count = 0;
    const int64_t got = reader.ReadBatch(static_cast<int64_t>(values.size()), levels.data(),
                                         repeated ? repeats.data() : nullptr, values.data(), &count);
    if (got <= 0) throw parquet::ParquetException("a page without rows");
    int64_t next = 0;
    for (int64_t i = 0; i < got; ++i) {
      const auto at = static_cast<size_t>(i);
      const int16_t level = present > 0 ? levels[at] : int16_t{0};
      if (level != present) {
        visit(static_cast<const typename Type::c_type*>(nullptr), level, repeats[at]);
        continue;
      }
      if (next == count) throw parquet::ParquetException("fewer values than rows that have one");
      visit(&values[static_cast<size_t>(next++)], level, repeats[at]);
    }
  }
}

// Calls visit(row, value) for each row with a value, and returns the number of rows, nulls included.
template <class Type, class Visit>
int64_t for_each_value(parquet::ColumnReader& column, Visit&& visit) {
  int64_t row = 0;
  for_each_entry<Type>(column, [&](const auto* value, int16_t, int16_t) {
    if (value != nullptr) visit(row, *value);
    ++row;
  });
  return row;
}

}  // namespace moe::data
