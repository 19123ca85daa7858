// SPDX-License-Identifier: MIT
#include "data/file_source.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace moe {
namespace {

// A range and what lies around it, read in one piece: readers look before a range for where a document begins, and
// after it for where one ends, and a remote file should be asked once.
class Surroundings : public Input {
 public:
  Surroundings(std::shared_ptr<const Input> whole, int64_t begin, int64_t end)
      : Input(whole->name()),
        whole_(std::move(whole)),
        begin_(std::max<int64_t>(0, begin - kAround)),
        bytes_(whole_->read(begin_, end + kAround)) {}

  int64_t size() const override { return whole_->size(); }

 private:
  static constexpr int64_t kAround = 64 << 10;  // as far as readers look at first

  void read_exactly(int64_t begin, char* data, size_t count) const override {
    const int64_t end = begin + static_cast<int64_t>(count);
    if (begin >= begin_ && end <= begin_ + std::ssize(bytes_)) {
      bytes_.copy(data, count, static_cast<size_t>(begin - begin_));
    } else {
      whole_->read(begin, end).copy(data, count);
    }
  }

  const std::shared_ptr<const Input> whole_;
  const int64_t begin_;
  const std::string bytes_;
};

}  // namespace

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
  read_range(Surroundings(file_->open(), begin, end), begin, end, documents);
}

std::string FileSource::identity_with(const std::string& file) const {
  return fmt::format("{} {} {}", file, unit_bytes_, kind_);
}

}  // namespace moe
