// SPDX-License-Identifier: MIT
#include "data/arrow_slices.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace moe::data {

void ArrowSlices::add(int64_t begin, std::string bytes) {
  slices_[begin] = arrow::Buffer::FromString(std::move(bytes));
}

arrow::Result<std::shared_ptr<arrow::Buffer>> ArrowSlices::ReadAt(int64_t position, int64_t count) {
  if (position < 0 || count < 0 || position > size_)
    return arrow::Status::IOError("bytes outside of the file: ", count, " at ", position);
  count = std::min(count, size_ - position);
  if (count == 0) return std::make_shared<arrow::Buffer>(nullptr, 0);
  const auto after = slices_.upper_bound(position);
  if (after != slices_.begin()) {
    const auto& [begin, bytes] = *std::prev(after);
    if (position - begin <= bytes->size() - count) return arrow::SliceBuffer(bytes, position - begin, count);
  }
  return arrow::Status::IOError("bytes outside of the column: ", count, " at ", position);
}

arrow::Result<int64_t> ArrowSlices::ReadAt(int64_t position, int64_t count, void* out) {
  ARROW_ASSIGN_OR_RAISE(const auto bytes, ReadAt(position, count));
  if (bytes->size() > 0) std::memcpy(out, bytes->data(), static_cast<size_t>(bytes->size()));
  return bytes->size();
}

arrow::Result<int64_t> ArrowSlices::Read(int64_t count, void* out) {
  ARROW_ASSIGN_OR_RAISE(const int64_t got, ReadAt(position_, count, out));
  position_ += got;
  return got;
}

arrow::Result<std::shared_ptr<arrow::Buffer>> ArrowSlices::Read(int64_t count) {
  ARROW_ASSIGN_OR_RAISE(auto bytes, ReadAt(position_, count));
  position_ += bytes->size();
  return bytes;
}

arrow::Status ArrowSlices::Seek(int64_t position) {
  position_ = position;
  return arrow::Status::OK();
}

arrow::Status ArrowSlices::Close() {
  closed_ = true;
  return arrow::Status::OK();
}

}  // namespace moe::data
