// SPDX-License-Identifier: MIT
#include "data/parquet.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <parquet/column_reader.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/schema.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "data/arrow_slices.h"

namespace moe {
namespace {

using Slices = std::shared_ptr<ArrowSlices>;

constexpr int64_t kTail = 64 << 10;  // read at first for the footer
constexpr int64_t kHole =
    64 << 10;  // gaps between columns up to this are read too: cheaper than one more request

bool is_text(const parquet::ColumnDescriptor& column) {
  const auto& type = column.logical_type();
  return column.physical_type() == parquet::Type::BYTE_ARRAY && column.max_repetition_level() == 0 &&
         (!type || type->is_string() || type->is_none() || type->is_JSON() || type->is_enum());
}

bool is_number(const parquet::ColumnDescriptor& column) {
  const auto& type = column.logical_type();
  const bool plain = !type || type->is_none() || type->is_int();
  switch (column.physical_type()) {
    case parquet::Type::INT32:
    case parquet::Type::INT64:
    case parquet::Type::FLOAT:
    case parquet::Type::DOUBLE:
      return plain && column.max_repetition_level() == 0;
    default:
      return false;
  }
}

bool is_bool(const parquet::ColumnDescriptor& column) {
  return column.physical_type() == parquet::Type::BOOLEAN && column.max_repetition_level() == 0;
}

bool is_unsigned(const parquet::ColumnDescriptor& column) {
  const auto& type = column.logical_type();
  return type && type->is_int() && !static_cast<const parquet::IntLogicalType&>(*type).is_signed();
}

std::unique_ptr<parquet::ParquetFileReader> open_reader(const Slices& slices,
                                                        std::shared_ptr<parquet::FileMetaData> metadata) {
  parquet::ReaderProperties properties;
  properties.set_page_checksum_verification(true);
  return parquet::ParquetFileReader::Open(slices, properties, std::move(metadata));
}

// The end of the file, enough of it for the footer: its length stands before the last four bytes. Whether all
// is as it should be is Arrow's business.
Slices read_tail(const Input& input) {
  const int64_t size = input.size();
  int64_t begin = std::max<int64_t>(0, size - kTail);
  std::string tail = input.read(begin, size);
  uint32_t length = 0;
  if (tail.size() >= 8) std::memcpy(&length, tail.data() + tail.size() - 8, sizeof(length));
  const int64_t wanted = size - 8 - static_cast<int64_t>(length);
  if (wanted >= 0 && wanted < begin) {
    tail.insert(0, input.read(wanted, begin));
    begin = wanted;
  }
  auto slices = std::make_shared<ArrowSlices>(size);
  slices->add(begin, std::move(tail));
  return slices;
}

// Everything Arrow throws becomes a UserError.
template <class Body>
void guarded(const DataFile& file, const std::string& what, Body&& body) {
  try {
    body();
  } catch (const UserError&) {
    throw;
  } catch (const std::exception& error) {
    throw UserError(fmt::format("{}, {}", file.name(), what), "readable Parquet", error.what(),
                    "the file may be damaged or its download cut short; fetch it again");
  }
}

// Calls visit(row, value) for each row with a value, and returns the number of rows, nulls included.
template <class Type, class Visit>
int64_t for_each_value(parquet::ColumnReader& column, Visit&& visit) {
  auto& reader = dynamic_cast<parquet::TypedColumnReader<Type>&>(column);
  const int16_t present = reader.descr()->max_definition_level();
  std::array<int16_t, 1024> levels;
  std::array<typename Type::c_type, 1024> values;
  int64_t rows = 0;
  while (reader.HasNext()) {
    int64_t count = 0;
    const int64_t got =
        reader.ReadBatch(static_cast<int64_t>(values.size()), levels.data(), nullptr, values.data(), &count);
    if (got <= 0) throw parquet::ParquetException("a page without rows");
    int64_t next = 0;
    for (int64_t i = 0; i < got; ++i) {
      if (present > 0 && levels[static_cast<size_t>(i)] != present) continue;
      if (next == count) throw parquet::ParquetException("fewer values than rows that have one");
      visit(rows + i, values[static_cast<size_t>(next++)]);
    }
    rows += got;
  }
  return rows;
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
    const Slices tail = read_tail(*file->open());
    guard("the footer", [&] {
      metadata = open_reader(tail, nullptr)->metadata();
      find_columns();
    });
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
      throw UserError(
          file->name(), fmt::format("a column \"{}\" of text", column),
          present.empty() ? "no column of text" : fmt::format("text columns {}", fmt::join(present, ", ")),
          "data.text_column names the column that holds the text");
    for (const Filter& filter : filters) {
      present.clear();
      columns.push_back(find(filter.column(), present, [&](const parquet::ColumnDescriptor& c) {
        return (filter.takes_numbers() && is_number(c)) ||
               (filter.takes_text() && (is_text(c) || is_bool(c)));
      }));
      if (columns.back() < 0)
        throw UserError(file->name(), fmt::format("a column for the filter {}", filter.text()),
                        present.empty() ? "none that it could compare"
                                        : fmt::format("the columns {}", fmt::join(present, ", ")),
                        "data.filters compares numbers with numbers and text with text");
    }
  }

  // The bytes of our columns.
  Slices fetch(int row_group) const {
    const auto input = file->open();
    auto slices = std::make_shared<ArrowSlices>(input->size());
    std::vector<arrow::io::ReadRange> ranges;
    guard(fmt::format("row group {}", row_group), [&] {
      const auto reader = open_reader(slices, metadata);
      auto found = reader->GetReadRanges({row_group}, columns, kHole, int64_t{1} << 40);
      if (!found.ok()) throw parquet::ParquetException(found.status().message());
      ranges = std::move(*found);
      for (const auto& range : ranges)
        if (range.offset < 0 || range.length < 0 || range.offset > input->size() - range.length)
          throw parquet::ParquetException("a column that lies outside of the file");
    });
    for (const auto& range : ranges)
      slices->add(range.offset, input->read(range.offset, range.offset + range.length));
    return slices;
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
  const Slices slices = state_->fetch(static_cast<int>(row_group));
  state_->guard(fmt::format("row group {}", row_group),
                [&] { state_->read(static_cast<int>(row_group), slices, documents); });
}

namespace {

class ParquetSource : public Source {
 public:
  ParquetSource(const DataFilePtr& file, const std::string& column, const Filters& filters)
      : column_(file, column, filters),
        description_(fmt::format("{} parquet {}{}", file->identity(), column, to_text(filters))) {
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
  std::string identity() const override {
    return fmt::format("{} {} {} {}", description_, units(), rows(), bytes());
  }

 private:
  ParquetColumn column_;
  std::string description_;
  std::vector<int64_t> bytes_;  // of each unit: asked for often
};

}  // namespace

std::vector<std::string> parquet_schema(const DataFilePtr& file) {
  const Slices tail = read_tail(*file->open());
  std::vector<std::string> columns;
  guarded(*file, "the footer", [&] {
    const auto metadata = open_reader(tail, nullptr)->metadata();
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
                                       const Filters& filters) {
  return std::make_unique<ParquetSource>(file, column, filters);
}

}  // namespace moe
