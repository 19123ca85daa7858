// SPDX-License-Identifier: MIT
#include "base/private_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/error.h"
#include "base/file.h"

namespace moe {
namespace {

class Temporary {
 public:
  explicit Temporary(const std::filesystem::path& path)
      : path_(path), temporary_(path.string() + ".tmp-" + std::to_string(::getpid())) {
    ::unlink(temporary_.c_str());  // never into what somebody else has open, nor through a link
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (descriptor_ < 0) fail("create");
  }
  ~Temporary() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!renamed_) ::unlink(temporary_.c_str());
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail("write");
      bytes.remove_prefix(static_cast<size_t>(count));
    }
  }
  void commit() {
    if (::fsync(descriptor_) != 0) fail("write");
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename");
    renamed_ = true;
    const std::filesystem::path folder = folder_of(path_);
    const int parent = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0) return;  // the file is there; only its name may be lost with the machine's power
    ::fsync(parent);
    ::close(parent);
  }

 private:
  [[noreturn]] void fail(const char* step) const {
    throw UserError(path_.string(), "", std::string("cannot ") + step + ": " + std::strerror(errno));
  }
  const std::filesystem::path path_;
  const std::string temporary_;
  int descriptor_ = -1;
  bool renamed_ = false;
};

}  // namespace

void write_private_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  Temporary file(path);
  file.write(bytes);
  file.commit();
}

}  // namespace moe
