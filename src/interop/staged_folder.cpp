// SPDX-License-Identifier: MIT
#include "interop/staged_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <string>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/leftovers.h"

namespace moe::interop {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPartial = ".partial-";  // between the name and the process

// A descriptor that holds the lock of a folder; -1 where another process holds it. Not through a link.
int lock_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0 || ::flock(descriptor, LOCK_EX | LOCK_NB) == 0) return descriptor;
  ::close(descriptor);
  return -1;
}

}  // namespace

StagedFolder::StagedFolder(fs::path place) : place_(std::move(place)) {
  if (!place_.has_filename()) place_ = place_.parent_path();  // "exported/"
  if (place_.empty()) throw UserError("the folder to write", "a path", "an empty one", "name a new folder");
  const bool empty = fs::is_directory(place_) && fs::is_empty(place_);
  if (fs::exists(place_) && !empty)
    throw UserError(place_.string(), "a new or empty folder", "something else", "name another, or remove it");
  sweep_leftovers(place_, kPartial);
  staged_ = place_.string() + kPartial + std::to_string(getpid());
  try {
    make_folders(staged_);
    lock_ = lock_folder(staged_);  // where the file system has no locks, nobody sweeps either
  } catch (...) {
    remove_quietly(staged_);
    throw;
  }
}

StagedFolder::~StagedFolder() {
  if (!staged_.empty()) remove_quietly(staged_);
  if (lock_ >= 0) ::close(lock_);
}

void StagedFolder::commit() {
  std::error_code error;
  fs::remove(place_, error);  // an empty folder
  fs::rename(staged_, place_, error);
  if (error) throw UserError(place_.string(), "to be able to rename a folder to it", error.message());
  staged_.clear();
  synchronise_folder(folder_of(place_));
}

}  // namespace moe::interop
