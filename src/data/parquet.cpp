// SPDX-License-Identifier: MIT
#include "data/parquet.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "data/parquet_file.h"

namespace moe::data {
namespace {

// A file that lacks a column that is needed.
struct NoColumn : UserError {
  NoColumn(const DataFile& file, const std::string& wanted, const std::string& present,
           const std::string& help, int64_t rows_)
      : UserError(file.name(), wanted, present, help), rows(rows_) {}
  int64_t rows;  // of the file
};

bool is_text(const parquet::ColumnDescriptor& column) {
  return holds_text(column) && is_flat(column);
}

bool is_number(const parquet::ColumnDescriptor& column) {
  return holds_numbers(column) && is_flat(column);
}

bool is_bool(const parquet::ColumnDescriptor& column) {
  return column.physical_type() == parquet::Type::BOOLEAN && is_flat(column);
}

// The rows that pass the filters so far. Grows with the rows found: a damaged footer can claim any number.
class Passing {
 public:
  explicit Passing(int64_t most_rows) : most_rows_(most_rows) {}

  bool operator[](int64_t row) const { return pass_[static_cast<size_t>(row)] != 0; }
  bool none() const { return std::find(pass_.begin(), pass_.end(), 1) == pass_.end(); }

  void apply(const Filter& filter, parquet::ColumnReader& column) {
    std::vector<char> now;  // nulls stay 0
    const bool whole_numbers = is_unsigned(*column.descr());
    const auto set = [&](int64_t row, bool passes) {
      if (row >= most_rows_) throw parquet::ParquetException("more rows than the row group has");
      now.resize(static_cast<size_t>(row) + 1, 0);
      now.back() = passes && (first_ || pass_[static_cast<size_t>(row)] != 0) ? 1 : 0;
    };
    int64_t rows = 0;
    switch (column.type()) {
      case parquet::Type::INT32:
        rows = for_each_value<parquet::Int32Type>(column, [&](int64_t row, int32_t value) {
          set(row, filter.passes(whole_numbers ? static_cast<long double>(static_cast<uint32_t>(value))
                                               : static_cast<long double>(value)));
        });
        break;
      case parquet::Type::INT64:
        rows = for_each_value<parquet::Int64Type>(column, [&](int64_t row, int64_t value) {
          set(row, filter.passes(whole_numbers ? static_cast<long double>(static_cast<uint64_t>(value))
                                               : static_cast<long double>(value)));
        });
        break;
      case parquet::Type::FLOAT:
        rows = for_each_value<parquet::FloatType>(column, [&](int64_t row, float value) {
          set(row, filter.passes(static_cast<long double>(value)));
        });
        break;
      case parquet::Type::DOUBLE:
        rows = for_each_value<parquet::DoubleType>(column, [&](int64_t row, double value) {
          set(row, filter.passes(static_cast<long double>(value)));
        });
        break;
      case parquet::Type::BOOLEAN:
        rows = for_each_value<parquet::BooleanType>(column, [&](int64_t row, bool value) {
          set(row, filter.passes(std::string_view(value ? "true" : "false")));
        });
        break;
      case parquet::Type::BYTE_ARRAY:
        rows =
            for_each_value<parquet::ByteArrayType>(column, [&](int64_t row, const parquet::ByteArray& value) {
              set(row, filter.passes(std::string_view(reinterpret_cast<const char*>(value.ptr), value.len)));
            });
        break;
      default:
        CHECK(false, "a filter on a column of another type");
    }
    if (rows != most_rows_) throw parquet::ParquetException(fmt::format("{} rows of {}", rows, most_rows_));
    now.resize(static_cast<size_t>(rows), 0);
    pass_ = std::move(now);
    first_ = false;
  }

 private:
  int64_t most_rows_;
  bool first_ = true;
  std::vector<char> pass_;
};

}  // namespace

struct ParquetColumn::State {
  DataFilePtr file;
  std::string column;
  Filters filters;
  int64_t most_bytes;
  std::shared_ptr<parquet::FileMetaData> metadata;
  std::vector<int> columns;  // the text, then those of the filters

  State(DataFilePtr file_, std::string column_, Filters filters_, int64_t most_bytes_)
      : file(std::move(file_)),
        column(std::move(column_)),
        filters(std::move(filters_)),
        most_bytes(most_bytes_) {
    metadata = read_footer(*file);
    guard("the footer", [&] { find_columns(); });
  }

  template <class Body>
  void guard(const std::string& what, Body&& body) const {
    guarded(*file, what, std::forward<Body>(body));
  }

  // The column of that name that is good for something; -1 without one, and the names of those that are good.
  template <class Good>
  int find(const std::string& name, std::vector<std::string>& present, Good&& good) const {
    int found = -1;
    for (int i = 0; i < metadata->num_columns(); ++i) {
      const auto* descriptor = metadata->schema()->Column(i);
      if (!good(*descriptor)) continue;
      present.push_back(descriptor->path()->ToDotString());
      if (present.back() == name && found < 0) found = i;
    }
    return found;
  }

  void find_columns() {
    std::vector<std::string> present;
    columns.push_back(find(column, present, is_text));
    if (columns.back() < 0)
      throw NoColumn(
          *file, fmt::format("a column \"{}\" of text", column),
          present.empty() ? "no column of text" : fmt::format("text columns {}", fmt::join(present, ", ")),
          "data.text_column names the column that holds the text", metadata->num_rows());
    for (const Filter& filter : filters) {
      present.clear();
      columns.push_back(find(filter.column(), present, [&](const parquet::ColumnDescriptor& c) {
        return (filter.takes_numbers() && is_number(c)) ||
               (filter.takes_text() && (is_text(c) || is_bool(c)));
      }));
      if (columns.back() < 0)
        throw NoColumn(*file, fmt::format("a column for the filter {}", filter.text()),
                       present.empty() ? "none that it could compare"
                                       : fmt::format("the columns {}", fmt::join(present, ", ")),
                       "data.filters compares numbers with numbers and text with text", metadata->num_rows());
    }
  }

  void read(int row_group, const Slices& slices, Documents& documents) const {
    const auto reader = open_reader(slices, metadata);
    const auto group = reader->RowGroup(row_group);
    const int64_t rows = group->metadata()->num_rows();
    Passing passing(rows);
    for (size_t i = 0; i < filters.size(); ++i) passing.apply(filters[i], *group->Column(columns[i + 1]));
    if (!filters.empty() && passing.none()) return;
    int64_t bytes = 0;
    const auto column_reader = group->Column(columns.front());
    const int64_t found = for_each_value<parquet::ByteArrayType>(
        *column_reader, [&](int64_t row, const parquet::ByteArray& value) {
          if (row >= rows) throw parquet::ParquetException("more rows than the row group has");
          bytes += value.len;
          if (bytes > most_bytes)
            throw parquet::ParquetException(fmt::format("more than {} bytes of text", most_bytes));
          if (filters.empty() || passing[row])
            documents.add_text({reinterpret_cast<const char*>(value.ptr), value.len});
        });
    if (found != rows) throw parquet::ParquetException(fmt::format("{} rows of {}", found, rows));
  }
};

ParquetColumn::ParquetColumn(DataFilePtr file, const std::string& column, const Filters& filters,
                             int64_t most_bytes)
    : state_(std::make_unique<State>(std::move(file), column, filters, most_bytes)) {}

ParquetColumn::~ParquetColumn() = default;

int64_t ParquetColumn::row_groups() const {
  return state_->metadata->num_row_groups();
}

int64_t ParquetColumn::rows(int64_t row_group) const {
  return state_->metadata->RowGroup(static_cast<int>(row_group))->num_rows();
}

int64_t ParquetColumn::bytes(int64_t row_group) const {
  const auto group = state_->metadata->RowGroup(static_cast<int>(row_group));
  return std::max<int64_t>(0, group->ColumnChunk(state_->columns.front())->total_uncompressed_size());
}

void ParquetColumn::read(int64_t row_group, Documents& documents) const {
  const Slices slices =
      fetch_columns(*state_->file, state_->metadata, static_cast<int>(row_group), state_->columns);
  state_->guard(fmt::format("row group {}", row_group),
                [&] { state_->read(static_cast<int>(row_group), slices, documents); });
}

namespace {

class ParquetSource : public Source {
 public:
  ParquetSource(const DataFilePtr& file, const std::string& column, const Filters& filters)
      : file_(file),
        column_(file, column, filters),
        description_(fmt::format("parquet {}{}", column, to_text(filters))) {
    for (int64_t unit = 0; unit < column_.row_groups(); ++unit) bytes_.push_back(column_.bytes(unit));
  }

  int64_t units() const override { return static_cast<int64_t>(bytes_.size()); }
  int64_t rows() const override {
    int64_t rows = 0;
    for (int64_t unit = 0; unit < units(); ++unit) rows += column_.rows(unit);
    return rows;
  }
  int64_t unit_bytes(int64_t unit) const override { return bytes_.at(static_cast<size_t>(unit)); }
  void read(int64_t unit, Documents& documents) const override { column_.read(unit, documents); }
  std::string identity() const override { return identity_with(file_->identity()); }
  std::string old_identity() const override { return identity_with(file_->old_identity()); }
  std::vector<DataFilePtr> files() const override { return {file_}; }

 private:
  std::string identity_with(const std::string& file) const {
    return fmt::format("{} {} {} {} {}", file, description_, units(), rows(), bytes());
  }

  DataFilePtr file_;
  ParquetColumn column_;
  std::string description_;
  std::vector<int64_t> bytes_;  // of each unit: asked for often
};

// A file that is left out.
class NoRows : public Source {
 public:
  explicit NoRows(std::string identity) : identity_(std::move(identity)) {}
  int64_t units() const override { return 0; }
  int64_t unit_bytes(int64_t) const override { return 0; }
  void read(int64_t, Documents&) const override {}
  std::string identity() const override { return identity_; }

 private:
  std::string identity_;
};

}  // namespace

std::vector<std::string> parquet_schema(const DataFilePtr& file) {
  const auto metadata = read_footer(*file);
  std::vector<std::string> columns;
  guarded(*file, "the footer", [&] {
    for (int i = 0; i < metadata->num_columns(); ++i) {
      const auto* column = metadata->schema()->Column(i);
      columns.push_back(
          fmt::format("{} {}", column->path()->ToDotString(),
                      is_text(*column) ? "text" : parquet::TypeToString(column->physical_type())));
    }
  });
  return columns;
}

std::unique_ptr<Source> parquet_source(const DataFilePtr& file, const std::string& column,
                                       const Filters& filters, Complaints* complaints) {
  try {
    return std::make_unique<ParquetSource>(file, column, filters);
  } catch (const NoColumn& error) {
    if (complaints == nullptr) throw;
    complaints->bad_row(
        error.where, 0, {error.expected, error.found, error.hint}, [&] { return error.where; },
        std::max<int64_t>(error.rows, 1));
    return std::make_unique<NoRows>(fmt::format("{} without rows", file->identity()));
  }
}

}  // namespace moe::data
