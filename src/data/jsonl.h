// SPDX-License-Identifier: MIT
// JSON lines: one object a line, the text in one of its fields.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/input.h"
#include "data/complaints.h"
#include "data/data_file.h"
#include "data/filter.h"
#include "data/source.h"

namespace moe::data {

// Adds field `column` of the lines that start in bytes [begin, end) and pass the filters. Empty lines and
// null fields are skipped. A line is bad when it is not a JSON object, lacks one of the fields, or has
// something there that is not text or that a filter cannot compare: complaints say what becomes of it, and
// without them it is a UserError with file and line number. Other fields are not looked at.
void read_jsonl(const Input& input, int64_t begin, int64_t end, const std::string& column,
                const Filters& filters, Documents& documents, Complaints* complaints = nullptr);

// Calls take(line) for the lines that start there and are not empty; what it returns is wrong with the line.
void read_lines(const Input& input, int64_t begin, int64_t end, Complaints* complaints,
                const std::function<std::optional<BadRow>(std::string_view line)>& take);

std::unique_ptr<Source> jsonl_source(const DataFilePtr& file, const std::string& column,
                                     const Filters& filters, int64_t unit_bytes,
                                     std::shared_ptr<Complaints> complaints = nullptr);

}  // namespace moe::data
