// SPDX-License-Identifier: MIT
// Settings from YAML files and from the command line, and back. Every mistake is a UserError that names
// file:line:column (or the command line), what was expected, what was found, and the nearest known name.
// The only file that knows yaml-cpp is config_file.cpp.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/fields.h"

namespace moe {

// One top-level key of the file with its settings.
struct Section {
  std::string name;
  Fields fields;
};

// Settings that were read and not yet understood; name stands for the file in messages.
struct ConfigText {
  std::string name, text;
};

// Reads a mapping of sections; settings the file does not name keep their values. An empty file is fine.
void read_config(const std::filesystem::path& path, std::vector<Section>& sections);
// The same from memory (JSON is YAML too); name stands for the file in messages.
void read_config_text(const std::string& text, const std::string& name, std::vector<Section>& sections);

// One "section.key=value" of the command line. Text is taken as it stands; a list is [a, b] or one element.
void apply_override(std::string_view assignment, std::vector<Section>& sections);

// The resolved file, each setting with its help as a comment; read_config_text gives the same values back.
std::string print_config(const std::vector<Section>& sections);
// {"model": {"d_model": 1024, ...}, ...}; indented by two spaces.
std::string print_config_json(const std::vector<Section>& sections);
// One paragraph per setting: section.key = default, type and limits, help.
std::string print_config_help(const std::vector<Section>& sections);

// Settings that two trees of the same shape hold differently: "model.d_model: 128, other 256". Empty: equal.
std::vector<std::string> config_differences(const std::vector<Section>& one,
                                            const std::vector<Section>& other);

}  // namespace moe
