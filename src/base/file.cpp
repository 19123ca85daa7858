// SPDX-License-Identifier: MIT
#include "base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/descriptor.h"
#include "base/disk_full.h"
#include "base/error.h"
#include "base/format.h"
#include "base/leftovers.h"

namespace moe {
namespace {

constexpr size_t kBuffer = size_t{1} << 20;
constexpr const char* kTemporary = ".tmp-";  // between the name and the process

[[noreturn]] void cannot_read(const std::filesystem::path& path, int error) {
  const char* found = error == ENOENT   ? "no file of that name"
                      : error == EISDIR ? "a folder"
                      : error == EACCES ? "one that this user may not read"
                                        : std::strerror(error);
  throw UserError(path.string(), "a readable file", found);
}

// The descriptor and size of a file open for reading; folders are refused.
int open_to_read(const std::filesystem::path& path, size_t& size) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) cannot_read(path, errno);
  struct stat status {};
  const int error = ::fstat(descriptor, &status) != 0 ? errno : S_ISDIR(status.st_mode) ? EISDIR : 0;
  if (error != 0) {
    ::close(descriptor);
    cannot_read(path, error);
  }
  size = static_cast<size_t>(status.st_size);
  return descriptor;
}

bool is_regular(int descriptor) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
}

bool has_name(int descriptor) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 && status.st_nlink > 0;
}

}  // namespace

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

void make_folders(const std::filesystem::path& folder, const std::string& hint) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::is_directory(folder, error)) return;
  const fs::path above = folder_of(folder.has_filename() ? folder : folder.parent_path());
  if (above != folder) make_folders(above, hint);
  error.clear();
  if (!fs::create_directory(folder, error) && error)
    throw UserError(folder.string(), "a folder that can be made", error.message(), hint);
  synchronise_folder(above);
}

void synchronise_folder(const std::filesystem::path& folder) {
  const Descriptor file(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.get() >= 0 && ::fsync(file.get()) == 0) return;
  // Some file systems cannot sync a folder and say EINVAL, and who may not read one (EACCES) cannot either.
  if (errno == EINVAL || errno == EACCES) return;
  throw UserError(folder.string(), "",
                  std::string("cannot write the folder to disk: ") + std::strerror(errno));
}

void remove_quietly(const std::filesystem::path& path) noexcept {
  try {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  } catch (const std::bad_alloc&) {  // it takes memory; what is left is swept by who comes next
    return;
  }
}

std::string read_file(const std::filesystem::path& path) {
  size_t size = 0;
  const Descriptor file(open_to_read(path, size));
  std::string bytes(size, '\0');
  size_t used = 0;
  for (;;) {  // past the size too: pipes and /proc have none
    if (used == bytes.size()) bytes.resize(used + std::max<size_t>(used / 2, 4096));
    const ssize_t count = ::read(file.get(), bytes.data() + used, bytes.size() - used);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) cannot_read(path, errno);
    if (count == 0) break;
    used += static_cast<size_t>(count);
  }
  bytes.resize(used);
  return bytes;
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  FileWriter writer(path, bytes.size());
  writer.write(bytes);
  writer.commit();
}

FileWriter::FileWriter(std::filesystem::path path, uint64_t expected_bytes)
    : path_(std::move(path)),
      temporary_(path_),
      expected_bytes_(expected_bytes),
      buffer_(std::make_unique_for_overwrite<uint8_t[]>(kBuffer)) {
  sweep_leftovers(path_, kTemporary);
  open_temporary();
}

// Another name where another thread writes the same file; once more where somebody swept it before it was
// locked.
void FileWriter::open_temporary() {
  const std::string stem = path_.string() + kTemporary + std::to_string(::getpid());
  for (int number = 0;;) {
    temporary_ = number == 0 ? stem : stem + "-" + std::to_string(number);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor_ < 0) fail("create");
    if (!is_regular(descriptor_)) return;
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ++number;
    } else if (has_name(descriptor_)) {
      if (::ftruncate(descriptor_, 0) != 0) fail("empty the temporary file");
      return;
    }
    ::close(std::exchange(descriptor_, -1));
  }
}

FileWriter::~FileWriter() {
  discard();
}

void FileWriter::discard() noexcept {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  descriptor_ = -1;
  ::unlink(temporary_.c_str());
}

void FileWriter::fail(const char* step) {
  const int error = errno;
  discard();
  const std::string where = path_.string();
  if (error == ENOSPC || error == EDQUOT) {
    // Asked after the temporary is gone: this is what a second attempt would have.
    struct statvfs disk {};
    const bool known = ::statvfs(folder_of(path_).c_str(), &disk) == 0;
    const double free_bytes = static_cast<double>(disk.f_bavail) * static_cast<double>(disk.f_frsize);
    const uint64_t needed = std::max(expected_bytes_, written_);
    throw DiskFull(where, format_bytes(static_cast<double>(needed)) + " of disk space",
                   known ? format_bytes(free_bytes) + " free" : std::strerror(error),
                   "free some space or choose another folder");
  }
  std::string hint;
  if (error == ENOENT) hint = "the folder " + folder_of(path_).string() + " does not exist";
  throw UserError(where, "", std::string("cannot ") + step + ": " + std::strerror(error), hint);
}

void FileWriter::write_through(const uint8_t* data, size_t size) {
  while (size > 0) {
    const ssize_t count = ::write(descriptor_, data, size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("write");
    data += count;
    size -= static_cast<size_t>(count);
  }
}

void FileWriter::flush() {
  write_through(buffer_.get(), std::exchange(buffered_, 0));
}

void FileWriter::write(const void* data, size_t size) {
  CHECK(descriptor_ >= 0, "write after commit or failure: " + path_.string());
  const auto* bytes = static_cast<const uint8_t*>(data);
  written_ += size;
  if (buffered_ + size > kBuffer) flush();
  if (size >= kBuffer) return write_through(bytes, size);
  if (size == 0) return;  // data may be null
  std::memcpy(buffer_.get() + buffered_, bytes, size);
  buffered_ += size;
}

void FileWriter::commit() {
  CHECK(descriptor_ >= 0, "commit after commit or failure: " + path_.string());
  flush();
  if (::fsync(descriptor_) != 0) fail("write to disk");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename the temporary file");
  ::close(std::exchange(descriptor_, -1));  // all that NFS could tell here, it has told above
  synchronise_folder(folder_of(path_));
}

MappedFile::MappedFile(const std::filesystem::path& path) {
  const Descriptor file(open_to_read(path, size_));
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.get(), 0);
  if (address == MAP_FAILED) cannot_read(path, errno);
  data_ = static_cast<const uint8_t*>(address);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<uint8_t*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

std::filesystem::path cache_folder() {
  const auto set = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value ? value : "");
  };
  // The XDG specification: a relative path is as good as none.
  if (const auto base = set("XDG_CACHE_HOME"); base.is_absolute()) return base / "moe";
  if (const auto home = set("HOME"); home.is_absolute()) return home / ".cache" / "moe";
  throw UserError("cache folder", "HOME or XDG_CACHE_HOME in the environment", "neither",
                  "set data.cache_dir");
}

}  // namespace moe
