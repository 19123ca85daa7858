// SPDX-License-Identifier: MIT
// A lock between processes: flock(2) on a file, which is how Python's filelock, and so huggingface_hub, does
// it. The kernel releases it when the process ends.
#pragma once

#include <filesystem>
#include <optional>

namespace moe::hub {

class FileLock {
 public:
  // Makes the file and its folder. Nothing when somebody, in this process too, holds the lock.
  static std::optional<FileLock> try_lock(const std::filesystem::path& path);

  // On a file that is there, shared with others who use it. Nothing when it is gone or held by use_alone.
  static std::optional<FileLock> use(const std::filesystem::path& path);
  // The same file for its removal. Nothing when it is gone, or anybody, in this process too, uses it.
  static std::optional<FileLock> use_alone(const std::filesystem::path& path);

  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) = delete;
  ~FileLock();

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace moe::hub
