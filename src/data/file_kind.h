// SPDX-License-Identifier: MIT
// What a file is that cannot be read as it lies there, by its name or its first bytes, and how it becomes
// readable.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace moe::data {

struct FileKind {
  std::string what;      // "a file compressed with xz"
  std::string hint;      // with the command that makes it readable, where there is one
  bool is_text = false;  // can be read as plain text all the same
};

std::optional<FileKind> kind_of_name(std::string_view name);
std::optional<FileKind> kind_of_content(std::string_view head, std::string_view name);

// Whether a name ends so, in upper or lower case.
bool has_ending(std::string_view name, std::string_view ending);

}  // namespace moe::data
