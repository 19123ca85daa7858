// SPDX-License-Identifier: MIT
#include "base/input.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace moe {

std::string Input::read(int64_t begin, int64_t end) const {
  end = std::min(end, size());
  std::string bytes;
  if (begin >= end) return bytes;
  bytes.resize(static_cast<size_t>(end - begin));
  read_exactly(begin, bytes.data(), bytes.size());
  return bytes;
}

FileInput::FileInput(const std::filesystem::path& path) : Input(path.string()) {
  // Without O_NONBLOCK a pipe would hold us here until somebody writes to it.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat status {};
  if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0) {
    const int error = errno;
    if (descriptor_ >= 0) ::close(descriptor_);
    throw UserError(name(), "a readable file", std::strerror(error));
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    throw UserError(name(), "an ordinary file",
                    S_ISFIFO(status.st_mode)   ? "a pipe"
                    : S_ISDIR(status.st_mode)  ? "a folder"
                    : S_ISSOCK(status.st_mode) ? "a socket"
                                               : "a device",
                    "a file is read several times and at any place; write the bytes to one first");
  }
  size_ = status.st_size;
}

FileInput::FileInput(const std::filesystem::path& path, int64_t expected_size) : FileInput(path) {
  if (size_ != expected_size)
    throw UserError(name(), fmt::format("{} bytes, as when the run began", expected_size),
                    fmt::format("{} bytes", size_),
                    "the file changed; leave data in place while a run reads it");
}

FileInput::~FileInput() {
  ::close(descriptor_);
}

void FileInput::read_exactly(int64_t begin, char* data, size_t count) const {
  size_t done = 0;
  while (done < count) {
    const ssize_t got = ::pread(descriptor_, data + done, count - done, begin + static_cast<int64_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      throw UserError(name(), fmt::format("{} bytes at byte {}", count, begin),
                      got < 0
                          ? std::strerror(errno)
                          : fmt::format("the end of the file at byte {}", begin + static_cast<int64_t>(done)),
                      "the file or its disk changed while it was read");
    done += static_cast<size_t>(got);
  }
}

void MemoryInput::read_exactly(int64_t begin, char* data, size_t count) const {
  std::memcpy(data, bytes_.data() + begin, count);
}

}  // namespace moe
