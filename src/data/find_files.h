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
#include "data/data_file.h"
#include "data/remote.h"

namespace moe {

enum class DataFormat : uint8_t { text, jsonl, parquet, tokens };
// "auto": nothing.
std::optional<DataFormat> parse_data_format(std::string_view name);

struct FoundFile {
  DataFilePtr file;
  DataFormat format;
};
struct FoundFiles {
  std::vector<FoundFile> files;
  std::shared_ptr<Remote> remote;  // null when all files are local
};

// Whether data.format or a file's ending counts where they contradict each other (data.rules).
enum class Contradiction : uint8_t { ending_wins, format_wins };

// Files, folders (all their files of a known format, by path), patterns ("shards/*.bin") and remote places. Of a
// folder, every file of a known format; with a format, the files of that format, or (for text, which has any
// ending) all files; hidden ones are left out. An ending that names one format (not .txt, .text and .md, under which
// anything may lie) wins over `format`, which is said. remote: null makes one when it is needed. Throws UserError for an
// entry without files.
FoundFiles find_files(const std::vector<std::string>& places, std::optional<DataFormat> format,
                      Terminal& terminal, std::shared_ptr<Remote> remote = nullptr,
                      Contradiction contradiction = Contradiction::ending_wins);

}  // namespace moe
