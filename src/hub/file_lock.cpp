// SPDX-License-Identifier: MIT
#include "hub/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace moe::hub {

std::optional<FileLock> FileLock::try_lock(const std::filesystem::path& path) {
  std::error_code ignored;  // open() below tells
  std::filesystem::create_directories(path.parent_path(), ignored);
  for (;;) {
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor < 0)
      throw UserError(path.string(), "a lock file", std::strerror(errno), "HF_HUB_CACHE names the folder");
    FileLock lock(descriptor);
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return std::nullopt;
      throw UserError(path.string(), "a file system with locks", std::strerror(errno),
                      "put HF_HUB_CACHE on a local disk");
    }
    // Somebody may have removed the file in between: then this lock holds nobody off.
    struct stat opened {
    }, named{};
    if (::fstat(descriptor, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
        opened.st_ino == named.st_ino)
      return lock;
  }
}

std::optional<FileLock> FileLock::use(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return std::nullopt;
  FileLock lock(descriptor);
  // Where the file system has no locks, reading goes on without one; use_alone() then removes nothing.
  if (::flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) return std::nullopt;
  return lock;
}

std::optional<FileLock> FileLock::use_alone(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) return std::nullopt;
  FileLock lock(descriptor);
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) return std::nullopt;
  return lock;
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace moe::hub
