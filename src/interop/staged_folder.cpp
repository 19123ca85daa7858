// SPDX-License-Identifier: MIT
#include "interop/staged_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace moe {
namespace {

namespace fs = std::filesystem;

// A descriptor that holds the lock of a folder; -1 where another process holds it. Not through a link.
int lock_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0 || ::flock(descriptor, LOCK_EX | LOCK_NB) == 0) return descriptor;
  ::close(descriptor);
  return -1;
}

// What dead processes left. Best effort: whatever stays is in nobody's way.
void sweep(const fs::path& place) {
  std::error_code ignored;
  const std::string start = place.filename().string() + ".partial-";
  std::vector<fs::path> left;
  fs::directory_iterator entry(folder_of(place), ignored);
  for (; !ignored && entry != fs::directory_iterator(); entry.increment(ignored))
    if (entry->path().filename().string().starts_with(start)) left.push_back(entry->path());
  for (const fs::path& folder : left) {
    const int lock = lock_folder(folder);
    if (lock < 0) continue;
    fs::remove_all(folder, ignored);
    ::close(lock);
  }
}

}  // namespace

StagedFolder::StagedFolder(fs::path place) : place_(std::move(place)) {
  if (!place_.has_filename()) place_ = place_.parent_path();  // "exported/"
  const bool empty = fs::is_directory(place_) && fs::is_empty(place_);
  if (fs::exists(place_) && !empty)
    throw UserError(place_.string(), "a new or empty folder", "something else", "name another, or remove it");
  sweep(place_);
  staged_ = place_.string() + ".partial-" + std::to_string(getpid());
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

}  // namespace moe
