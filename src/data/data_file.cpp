// SPDX-License-Identifier: MIT
#include "data/data_file.h"

#include <fmt/format.h>

namespace moe {
namespace {

// Opened for each read, so that ten thousand files need no ten thousand descriptors.
class LocalFile : public DataFile {
 public:
  explicit LocalFile(std::filesystem::path path)
      : DataFile(path.string(), FileInput(path).size()), path_(std::move(path)) {}

  std::string identity() const override { return fmt::format("{} {}", path_.filename().string(), size()); }
  std::string cache_key() const override {
    const auto changed = std::filesystem::last_write_time(path_).time_since_epoch().count();
    return fmt::format("{}|{}|{}", std::filesystem::absolute(path_).lexically_normal().string(), size(),
                       changed);
  }
  std::shared_ptr<const Input> open() const override { return std::make_shared<FileInput>(path_, size()); }

 private:
  std::filesystem::path path_;
};

class MemoryFile : public DataFile {
 public:
  MemoryFile(const std::string& name, std::string_view bytes)
      : DataFile(name, static_cast<int64_t>(bytes.size())), bytes_(bytes) {}

  std::string identity() const override { return fmt::format("{} {}", name(), size()); }
  std::shared_ptr<const Input> open() const override { return std::make_shared<MemoryInput>(name(), bytes_); }

 private:
  std::string_view bytes_;
};

}  // namespace

DataFilePtr local_file(const std::filesystem::path& path) {
  return std::make_shared<LocalFile>(path);
}

DataFilePtr memory_file(const std::string& name, std::string_view bytes) {
  return std::make_shared<MemoryFile>(name, bytes);
}

}  // namespace moe
