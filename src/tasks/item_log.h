// SPDX-License-Identifier: MIT
// The results of items as they come, one JSON object a line: a record to compare with other programs, and
// what an interrupted evaluation goes on from. The first line says of which model and items they are.
#pragma once

#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

#include "tasks/task_set.h"

namespace moe::tasks {

class ItemLog {
 public:
  // Reads what is there; a last line cut short by a kill is dropped. Throws UserError when the file is of
  // another model or other items (`about` differs), or is not such a file.
  ItemLog(std::filesystem::path path, std::string about);
  ~ItemLog();
  ItemLog(const ItemLog&) = delete;
  ItemLog& operator=(const ItemLog&) = delete;

  TaskSet::Record record();  // refers to this object
  size_t known() const { return known_.size(); }

 private:
  using Key = std::tuple<std::string, std::string, int64_t>;
  void read(std::string_view text);
  void write(const std::string& line);

  std::filesystem::path path_;
  std::string about_;
  std::map<Key, ItemResult> known_;
  std::FILE* file_ = nullptr;
};

}  // namespace moe::tasks
