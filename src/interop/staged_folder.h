// SPDX-License-Identifier: MIT
// A folder that appears whole or not at all: it is filled beside its place and renamed there at the end. Who
// fills one holds its lock; what a process left that died is removed by the next one that comes to the place.
#pragma once

#include <filesystem>

namespace moe::interop {

class StagedFolder {
 public:
  // Throws UserError when there is something at `place` already, other than an empty folder.
  explicit StagedFolder(std::filesystem::path place);
  ~StagedFolder();  // without commit(), nothing stays behind
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;

  const std::filesystem::path& path() const { return staged_; }  // where to write
  void commit();

 private:
  std::filesystem::path place_, staged_;
  int lock_ = -1;  // a descriptor of the staged folder
};

}  // namespace moe::interop
