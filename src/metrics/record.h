// SPDX-License-Identifier: MIT
// What a record (metrics/jsonl.h) says about a step.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace moe::metrics {

// The names in all rows of the record's last steps that are of this one. None when there is no record. Lines
// that are no rows are passed over.
std::vector<std::string> names_of_step(const std::filesystem::path& record, int64_t step);

}  // namespace moe::metrics
