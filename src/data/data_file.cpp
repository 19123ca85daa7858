// SPDX-License-Identifier: MIT
#include "data/data_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/random.h"

namespace moe::data {
namespace {

// Opened for each read, so that ten thousand files need no ten thousand descriptors.
class LocalFile : public DataFile {
 public:
  LocalFile(std::filesystem::path path, int64_t blocks)
      : DataFile(path.string(), FileInput(path).size()), path_(std::move(path)), blocks_(blocks) {}

  std::string identity() const override { return sampled_identity(*open(), blocks_); }
  std::string old_identity() const override {
    return fmt::format("{} {}", path_.filename().string(), size());
  }
  std::string cache_key() const override {
    const auto changed = std::filesystem::last_write_time(path_).time_since_epoch().count();
    return fmt::format("{}|{}|{}", std::filesystem::absolute(path_).lexically_normal().string(), size(),
                       changed);
  }
  std::shared_ptr<const Input> open() const override { return std::make_shared<FileInput>(path_, size()); }

 private:
  std::filesystem::path path_;
  int64_t blocks_;
};

class MemoryFile : public DataFile {
 public:
  MemoryFile(const std::string& name, std::string_view bytes)
      : DataFile(name, static_cast<int64_t>(bytes.size())), bytes_(bytes) {}

  std::string identity() const override { return sampled_identity(*open()); }
  std::shared_ptr<const Input> open() const override { return std::make_shared<MemoryInput>(name(), bytes_); }

 private:
  std::string_view bytes_;
};

}  // namespace

std::string sampled_identity(const Input& input, int64_t blocks) {
  const int64_t size = input.size(), last = std::max<int64_t>(0, size - kSampledBlock);
  std::string sample;
  if (size <= blocks * kSampledBlock) {
    sample = input.read(0, size);
  } else {
    // One block alone is the last: that of Parquet tells most.
    for (int64_t i = 0; i + 1 < blocks; ++i) {
      const int64_t begin = last / (blocks - 1) * i;
      sample += input.read(begin, begin + kSampledBlock);
    }
    sample += input.read(last, size);
  }
  return fmt::format("{} {:016x}", size, stream_id(sample));
}

DataFilePtr local_file(const std::filesystem::path& path, int64_t blocks) {
  return std::make_shared<LocalFile>(path, blocks);
}

DataFilePtr memory_file(const std::string& name, std::string_view bytes) {
  return std::make_shared<MemoryFile>(name, bytes);
}

}  // namespace moe::data
