// SPDX-License-Identifier: MIT
// JSON lines: one object a line, the text in one of its fields.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/input.h"
#include "data/data_file.h"
#include "data/filter.h"
#include "data/source.h"

namespace moe {

// Adds field `column` of the lines that start in bytes [begin, end) and pass the filters. Empty lines and null
// fields are skipped. Throws UserError with file and line number for a line that is not a JSON object, lacks one
// of the fields (those present are listed), or has something there that is not text or that a filter cannot
// compare.
void read_jsonl(const Input& input, int64_t begin, int64_t end, const std::string& column,
                const Filters& filters, Documents& documents);

std::unique_ptr<Source> jsonl_source(const DataFilePtr& file, const std::string& column,
                                     const Filters& filters, int64_t unit_bytes);

}  // namespace moe
