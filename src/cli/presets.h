// SPDX-License-Identifier: MIT
// The configurations that the program carries, so that `--config moe_120m` needs no clone: configs/*.yaml and
// configs/overlays/*.yaml, as they were when it was built (cmake/presets.cmake).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/config_file.h"

namespace moe::cli {

struct Preset {
  std::string name;       // "moe_120m": the file's, without folder and ending
  bool overlay = false;   // a few settings to lay over a preset, and no training by itself
  std::string_view text;  // of the file
};

// By name, overlays last.
const std::vector<Preset>& presets();
const Preset* find_preset(std::string_view name);  // null: there is none
// The same for reading. Throws UserError where there is none, with the one that was meant.
ConfigText read_preset(const std::string& name);

// Its first line, a comment that says in one sentence what it is for.
std::string summary_of(const Preset& preset);

// What --config was given: each a file, or the name of a preset where no file has it. Throws UserError.
std::vector<ConfigText> read_configurations(const std::vector<std::filesystem::path>& given);

// For a run's name: the names of the files or presets, without folder and ending, joined by "-".
std::string name_of_configurations(const std::vector<std::filesystem::path>& given);

}  // namespace moe::cli
