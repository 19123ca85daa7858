// SPDX-License-Identifier: MIT
#include "data/parquet.h"

#include <arrow/io/file.h>
#include <arrow/io/memory.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <parquet/column_reader.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/schema.h>

#include <algorithm>
#include <array>
#include <functional>
#include <vector>

#include "base/error.h"

namespace moe {
namespace {

using OpenFile = std::function<std::shared_ptr<arrow::io::RandomAccessFile>()>;

bool is_text(const parquet::ColumnDescriptor& column) {
  const auto& type = column.logical_type();
  return column.physical_type() == parquet::Type::BYTE_ARRAY && column.max_repetition_level() == 0 &&
         (!type || type->is_string() || type->is_none() || type->is_JSON() || type->is_enum());
}

// The same open file can be read by one thread only; opening again with known metadata costs a system call.
std::unique_ptr<parquet::ParquetFileReader> open_reader(const OpenFile& open,
                                                        std::shared_ptr<parquet::FileMetaData> metadata) {
  parquet::ReaderProperties properties;
  properties.set_page_checksum_verification(true);
  return parquet::ParquetFileReader::Open(open(), properties, std::move(metadata));
}

// Adds the column's values; returns the number of rows, nulls included.
int64_t read_values(parquet::ByteArrayReader& reader, int64_t most_bytes, Documents& documents) {
  std::array<int16_t, 1024> levels;
  std::array<parquet::ByteArray, 1024> values;
  int64_t rows = 0, bytes = 0;
  while (reader.HasNext()) {
    int64_t count = 0;
    const int64_t got =
        reader.ReadBatch(static_cast<int64_t>(values.size()), levels.data(), nullptr, values.data(), &count);
    if (got <= 0) throw parquet::ParquetException("a page without rows");
    rows += got;
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      bytes += values[i].len;
      if (bytes > most_bytes)
        throw parquet::ParquetException(fmt::format("more than {} bytes of text", most_bytes));
      documents.add_text({reinterpret_cast<const char*>(values[i].ptr), values[i].len});
    }
  }
  return rows;
}

}  // namespace

struct ParquetColumn::State {
  std::string name, column;
  OpenFile open;
  int64_t most_bytes;
  std::shared_ptr<parquet::FileMetaData> metadata;
  int index = 0;

  State(std::string name_, std::string column_, OpenFile open_, int64_t most_bytes_)
      : name(std::move(name_)), column(std::move(column_)), open(std::move(open_)), most_bytes(most_bytes_) {
    guard("the footer", [&] {
      metadata = open_reader(open, nullptr)->metadata();
      find_column();
    });
  }

  // Everything Arrow throws becomes a UserError.
  template <class Body>
  void guard(const std::string& what, Body&& body) const {
    try {
      body();
    } catch (const UserError&) {
      throw;
    } catch (const std::exception& error) {
      throw UserError(fmt::format("{}, {}", name, what), "readable Parquet", error.what(),
                      "the file may be damaged or its download cut short; fetch it again");
    }
  }

  void find_column() {
    std::vector<std::string> present;
    for (int i = 0; i < metadata->num_columns(); ++i) {
      const auto* descriptor = metadata->schema()->Column(i);
      if (!is_text(*descriptor)) continue;
      present.push_back(descriptor->path()->ToDotString());
      if (present.back() != column) continue;
      index = i;
      return;
    }
    throw UserError(
        name, fmt::format("a column \"{}\" of text", column),
        present.empty() ? "no column of text" : fmt::format("text columns {}", fmt::join(present, ", ")),
        "data.text_column names the column that holds the text");
  }
};

ParquetColumn::ParquetColumn(const std::filesystem::path& path, const std::string& column)
    : state_(std::make_unique<State>(
          path.string(), column,
          [path] {
            auto file = arrow::io::ReadableFile::Open(path.string());
            if (!file.ok()) throw std::runtime_error(file.status().message());
            return *file;
          },
          kMostBytes)) {}

ParquetColumn::ParquetColumn(const std::string& name, std::string_view bytes, const std::string& column,
                             int64_t most_bytes)
    : state_(std::make_unique<State>(
          name, column,
          [bytes] {
            return std::make_shared<arrow::io::BufferReader>(
                std::make_shared<arrow::Buffer>(std::string_view(bytes.data(), bytes.size())));
          },
          most_bytes)) {}

ParquetColumn::~ParquetColumn() = default;

int64_t ParquetColumn::row_groups() const {
  return state_->metadata->num_row_groups();
}

int64_t ParquetColumn::rows(int64_t row_group) const {
  return state_->metadata->RowGroup(static_cast<int>(row_group))->num_rows();
}

int64_t ParquetColumn::bytes(int64_t row_group) const {
  const auto group = state_->metadata->RowGroup(static_cast<int>(row_group));
  return std::max<int64_t>(0, group->ColumnChunk(state_->index)->total_uncompressed_size());
}

void ParquetColumn::read(int64_t row_group, Documents& documents) const {
  state_->guard(fmt::format("row group {}", row_group), [&] {
    const auto file = open_reader(state_->open, state_->metadata);
    const auto group = file->RowGroup(static_cast<int>(row_group));
    const auto column = group->Column(state_->index);
    const int64_t rows =
        read_values(dynamic_cast<parquet::ByteArrayReader&>(*column), state_->most_bytes, documents);
    if (rows != group->metadata()->num_rows())
      throw parquet::ParquetException(fmt::format("{} rows of {}", rows, group->metadata()->num_rows()));
  });
}

namespace {

class ParquetSource : public Source {
 public:
  ParquetSource(const std::filesystem::path& path, const std::string& column)
      : column_(path, column), name_(path.filename().string()), column_name_(column) {}

  int64_t units() const override { return column_.row_groups(); }
  int64_t unit_bytes(int64_t unit) const override { return column_.bytes(unit); }
  void read(int64_t unit, Documents& documents) const override { column_.read(unit, documents); }
  std::string identity() const override {
    int64_t rows = 0, bytes = 0;
    for (int64_t unit = 0; unit < units(); ++unit) {
      rows += column_.rows(unit);
      bytes += column_.bytes(unit);
    }
    return fmt::format("{} parquet {} {} {} {}", name_, column_name_, units(), rows, bytes);
  }

 private:
  ParquetColumn column_;
  std::string name_, column_name_;
};

}  // namespace

std::unique_ptr<Source> parquet_source(const std::filesystem::path& path, const std::string& column) {
  return std::make_unique<ParquetSource>(path, column);
}

}  // namespace moe
