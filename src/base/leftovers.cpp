// SPDX-License-Identifier: MIT
#include "base/leftovers.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "base/descriptor.h"
#include "base/file.h"

namespace moe {
namespace {

// Negative for what is neither a file nor a folder.
int open_to_lock(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (file < 0 && errno == EISDIR)
    return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  struct stat status {};
  if (file < 0 || (::fstat(file, &status) == 0 && S_ISREG(status.st_mode))) return file;
  ::close(file);
  return -1;
}

}  // namespace

void sweep_leftovers(const std::filesystem::path& path, std::string_view infix) {
  std::error_code ignored;
  const std::string start = path.filename().string().append(infix);
  std::filesystem::directory_iterator entry(folder_of(path), ignored);
  for (; !ignored && entry != std::filesystem::directory_iterator(); entry.increment(ignored)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(start) || name.find_first_not_of("0123456789", start.size()) != std::string::npos)
      continue;
    const Descriptor left(open_to_lock(entry->path()));
    if (left.get() >= 0 && ::flock(left.get(), LOCK_EX | LOCK_NB) == 0) remove_quietly(entry->path());
  }
}

}  // namespace moe
