// SPDX-License-Identifier: MIT
#include "exchange/staged_folder.h"

#include <unistd.h>

#include <string>
#include <system_error>

#include "base/error.h"
#include "base/file.h"

namespace moe {

namespace fs = std::filesystem;

StagedFolder::StagedFolder(fs::path place) : place_(std::move(place)) {
  if (!place_.has_filename()) place_ = place_.parent_path();  // "exported/"
  const bool empty = fs::is_directory(place_) && fs::is_empty(place_);
  if (fs::exists(place_) && !empty)
    throw UserError(place_.string(), "a new or empty folder", "something else", "name another, or remove it");
  staged_ = place_.string() + ".partial-" + std::to_string(getpid());
  std::error_code error;
  fs::remove_all(staged_, error);
  try {
    make_folders(staged_);
  } catch (...) {
    remove_quietly(staged_);
    throw;
  }
}

StagedFolder::~StagedFolder() {
  if (!staged_.empty()) remove_quietly(staged_);
}

void StagedFolder::commit() {
  std::error_code error;
  fs::remove(place_, error);  // an empty folder
  fs::rename(staged_, place_, error);
  if (error) throw UserError(place_.string(), "to be able to rename a folder to it", error.message());
  staged_.clear();
  synchronise_folder(place_.has_parent_path() ? place_.parent_path() : fs::path("."));
}

}  // namespace moe
