// SPDX-License-Identifier: MIT
// Whole files into the cache: locked, continued, checked, and only then given their name.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"
#include "base/format.h"
#include "hub/digest.h"
#include "hub/hub.h"

namespace moe::hub {
namespace {

namespace fs = std::filesystem;

// A file that grows at its end, and the hash of all that is in it.
class PartialFile {
 public:
  PartialFile(const fs::path& path, const File& file)
      : path_(path),
        descriptor_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)),
        digest_(file.lfs, file.size) {
    if (descriptor_.get() < 0) fail("create", file.size);
    std::vector<char> buffer(size_t{1} << 20);
    for (ssize_t count = 0; (count = ::read(descriptor_.get(), buffer.data(), buffer.size())) != 0;) {
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail("read", file.size);
      digest_.add({buffer.data(), static_cast<size_t>(count)});
      size_ += count;
    }
    if (size_ <= file.size) return;
    // Not a beginning of this file.
    if (::ftruncate(descriptor_.get(), 0) != 0 || ::lseek(descriptor_.get(), 0, SEEK_SET) != 0)
      fail("empty", file.size);
    digest_ = Digest(file.lfs, file.size);
    size_ = 0;
  }

  int64_t size() const { return size_; }
  std::string hash() { return digest_.hex(); }

  void write(std::string_view bytes, const File& file) {
    digest_.add(bytes);
    while (!bytes.empty()) {
      const ssize_t count = ::write(descriptor_.get(), bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail("write", file.size);
      bytes.remove_prefix(static_cast<size_t>(count));
      size_ += count;
    }
  }

  // On the disk, whatever happens to the machine.
  void settle(const File& file) {
    if (::fsync(descriptor_.get()) != 0) fail("write", file.size);
  }

 private:
  [[noreturn]] void fail(const char* step, int64_t wanted) const {
    const int error = errno;
    if (error == ENOSPC || error == EDQUOT) {
      std::error_code unknown;
      const fs::space_info space = fs::space(path_.parent_path(), unknown);
      throw UserError(
          path_.string(), format_bytes(static_cast<double>(wanted - size_)) + " of disk space",
          unknown ? std::strerror(error) : format_bytes(static_cast<double>(space.available)) + " free",
          "free some space, or name another folder in HF_HUB_CACHE; what is there is kept");
    }
    throw UserError(path_.string(), "", fmt::format("cannot {}: {}", step, std::strerror(error)),
                    "HF_HUB_CACHE names the cache's folder");
  }

  const fs::path path_;
  const Descriptor descriptor_;
  Digest digest_;
  int64_t size_ = 0;
};

}  // namespace

fs::path Hub::download(const Address& address, const File& file, const Progress& progress) {
  const std::string commit_id = commit(address);
  if (!cache_.find(address, commit_id, file)) {
    const FileLock lock = wait_for_lock(address, file);
    if (!cache_.find(address, commit_id, file)) fetch(address, commit_id, file, progress);
  }
  fs::path found = *cache_.find(address, commit_id, file);
  if (file.oid.empty() || found != cache_.blob(address, file.oid))
    return found;  // a copy, under its name already
  fs::path path = cache_.link(address, commit_id, file);
  const std::string revision = revision_or_default(address);
  if (revision != commit_id) cache_.write_ref(address, revision, commit_id);
  return path;
}

FileLock Hub::wait_for_lock(const Address& address, const File& file) const {
  constexpr double kPause = 0.1;
  const fs::path path = cache_.lock(address, file.oid);
  for (bool told = false;; told = true) {
    if (auto lock = FileLock::try_lock(path)) return std::move(*lock);
    if (!told) event(fmt::format("{}: another process is fetching it; waiting", file.path));
    client_.wait(kPause);
  }
}

void Hub::fetch(const Address& address, const std::string& commit, const File& file,
                const Progress& progress) const {
  const auto source = remote(address, commit, file);
  const fs::path blob = cache_.blob(address, file.oid), partial = blob.string() + ".incomplete";
  std::error_code error;
  fs::create_directories(blob.parent_path(), error);  // a failure shows when the file is made
  cache_.mark(address, file.oid);
  for (;;) {
    PartialFile content(partial, file);
    const int64_t resumed = content.size();
    if (resumed > 0) event(fmt::format("{}: going on at byte {}", file.path, resumed));
    if (progress && resumed > 0) progress(static_cast<uint64_t>(resumed));
    source->stream(resumed, file.size, [&](std::string_view bytes) {
      content.write(bytes, file);
      if (progress) progress(bytes.size());
    });
    const std::string hash = content.hash();
    if (hash == file.oid) {
      content.settle(file);
      break;
    }
    fs::remove(partial, error);
    if (resumed == 0)
      throw UserError(source->name(), "content with the hash " + file.oid, hash,
                      "try again; if it stays, the file on the server or the way to it is broken");
    event(fmt::format("{}: what an earlier attempt left was wrong; starting anew", file.path));
  }
  fs::rename(partial, blob, error);
  if (error) throw UserError(blob.string(), "", "cannot rename " + partial.string() + ": " + error.message());
}

}  // namespace moe::hub
