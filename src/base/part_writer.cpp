// SPDX-License-Identifier: MIT
#include "base/part_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#include "base/disk_full.h"
#include "base/error.h"
#include "base/format.h"

namespace moe {

PartWriter::PartWriter(std::filesystem::path path)
    : path_(std::move(path)), descriptor_(::open(path_.c_str(), O_WRONLY | O_CLOEXEC)) {
  if (descriptor_ < 0) fail("open");
}

PartWriter::~PartWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void PartWriter::write_at(uint64_t offset, const void* data, size_t size) {
  CHECK(descriptor_ >= 0, "write after commit: " + path_.string());
  const auto* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t count = ::pwrite(descriptor_, bytes, size, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("write");
    bytes += count;
    offset += static_cast<uint64_t>(count);
    size -= static_cast<size_t>(count);
  }
}

void PartWriter::commit() {
  if (::fsync(descriptor_) != 0) fail("write to disk");
  if (::close(std::exchange(descriptor_, -1)) != 0)
    fail("close");  // NFS tells of a full disk here at the latest
}

void PartWriter::fail(const char* step) const {
  const int error = errno;
  const std::string found = std::string("cannot ") + step + ": " + std::strerror(error);
  if (error == ENOSPC || error == EDQUOT) {
    std::error_code unknown;
    const auto disk = std::filesystem::space(path_.parent_path(), unknown);
    throw DiskFull(
        path_.string(), "", found,
        unknown ? "free some space"
                : "free some space: " + format_bytes(static_cast<double>(disk.available)) + " are left");
  }
  throw UserError(
      path_.string(), "", found,
      error == ENOENT ? "another process has made the file: all need to see the same folder" : "");
}

}  // namespace moe
