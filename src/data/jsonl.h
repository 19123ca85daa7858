// SPDX-License-Identifier: MIT
// JSON lines: one object a line, the text in one of its fields.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/input.h"
#include "data/source.h"

namespace moe {

// Adds field `column` of the lines that start in bytes [begin, end). Empty lines and null fields are skipped.
// Throws UserError with file and line number for a line that is not a JSON object, lacks the field (the
// fields present are listed), or has something else than text there.
void read_jsonl(const Input& input, int64_t begin, int64_t end, const std::string& column,
                Documents& documents);

std::unique_ptr<Source> jsonl_source(const std::filesystem::path& path, const std::string& column,
                                     int64_t unit_bytes);

}  // namespace moe
