// SPDX-License-Identifier: MIT
// From the entries of data.source to files, each with its format.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/terminal.h"
#include "data/config.h"
#include "data/data_file.h"
#include "data/remote.h"

namespace moe::data {

enum class DataFormat : uint8_t { text, jsonl, parquet, tokens };
// Nothing for the endings to decide.
std::optional<DataFormat> asked_format(FormatSetting setting);

struct FoundFile {
  DataFilePtr file;
  DataFormat format;
};
struct FoundFiles {
  std::vector<FoundFile> files;
  std::shared_ptr<Remote> remote;  // null when all files are local
};

// What is taken of a folder, or of a repository on the hub.
enum class FolderRule : uint8_t {
  data,       // its data: no cards and licences, no other splits beside train (data/folder_rules.h)
  one_split,  // the same, but refuses a folder with several splits
  as_before   // every file of a format that version 0.1 knew by its name, and data.format before an ending
};
FolderRule folder_rule(const DataConfig& config);  // by data.rules

// Files, folders, patterns ("shards/*.bin") and remote places. Of a folder, by path, the files of known
// formats; with a format, the files of that format, or (for text, which has any ending) all files that can be
// text; hidden ones are left out, and so are links that loop and folders that nobody may read. What is left
// out is said. An ending that names one format (not .txt, .text and .md, under which anything may lie) wins
// over `format`, which is said. remote: null makes one when it is needed. Throws UserError for an entry
// without files.
FoundFiles find_files(const std::vector<std::string>& places, std::optional<DataFormat> format,
                      Terminal& terminal, std::shared_ptr<Remote> remote = nullptr,
                      FolderRule rule = FolderRule::data);

// Throws the UserError of find_files() for the first local place where nothing is. where: the setting.
void expect_places(const std::string& where, const std::vector<std::string>& places);

}  // namespace moe::data
