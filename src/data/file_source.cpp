// SPDX-License-Identifier: MIT
#include "data/file_source.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace moe::data {
FileSource::FileSource(DataFilePtr file, int64_t unit_bytes, std::string kind)
    : file_(std::move(file)), size_(file_->size()), kind_(std::move(kind)) {
  unit_bytes_ = unit_bytes > 0 ? unit_bytes : std::max<int64_t>(size_, 1);
}

int64_t FileSource::unit_bytes(int64_t unit) const {
  CHECK(unit >= 0 && unit < units());
  return std::min(unit_bytes_, size_ - unit * unit_bytes_);
}

void FileSource::read(int64_t unit, Documents& documents) const {
  const int64_t begin = unit * unit_bytes_;
  const int64_t end = begin + unit_bytes(unit);
  read_range(*file_->open(), begin, end, documents);
}

std::string FileSource::identity_with(const std::string& file) const {
  return fmt::format("{} {} {}", file, unit_bytes_, kind_);
}

}  // namespace moe::data
