// SPDX-License-Identifier: MIT
#include "data/parquet_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace moe::data {
namespace {

constexpr int64_t kTail = 64 << 10;  // read at first for the footer
// Gaps between columns up to this are read too: cheaper than one more request.
constexpr int64_t kHole = 64 << 10;

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

}  // namespace

bool is_flat(const parquet::ColumnDescriptor& column) {
  return column.max_repetition_level() == 0;
}

bool holds_text(const parquet::ColumnDescriptor& column) {
  const auto& type = column.logical_type();
  return column.physical_type() == parquet::Type::BYTE_ARRAY &&
         (!type || type->is_string() || type->is_none() || type->is_JSON() || type->is_enum());
}

bool holds_numbers(const parquet::ColumnDescriptor& column) {
  const auto& type = column.logical_type();
  switch (column.physical_type()) {
    case parquet::Type::INT32:
    case parquet::Type::INT64:
    case parquet::Type::FLOAT:
    case parquet::Type::DOUBLE:
      return !type || type->is_none() || type->is_int();
    default:
      return false;
  }
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

std::shared_ptr<parquet::FileMetaData> read_footer(const DataFile& file) {
  const Slices tail = read_tail(*file.open());
  std::shared_ptr<parquet::FileMetaData> metadata;
  guarded(file, "the footer", [&] { metadata = open_reader(tail, nullptr)->metadata(); });
  return metadata;
}

void refuse_parquet(const DataFile& file, const std::string& what, const std::string& found) {
  throw UserError(fmt::format("{}, {}", file.name(), what), "readable Parquet", found,
                  "the file may be damaged or its download cut short; fetch it again");
}

Slices fetch_columns(const DataFile& file, const std::shared_ptr<parquet::FileMetaData>& metadata,
                     int row_group, const std::vector<int>& columns) {
  const auto input = file.open();
  auto slices = std::make_shared<ArrowSlices>(input->size());
  std::vector<arrow::io::ReadRange> ranges;
  guarded(file, fmt::format("row group {}", row_group), [&] {
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

}  // namespace moe::data
