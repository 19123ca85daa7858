// SPDX-License-Identifier: MIT
// The names in a folder of checkpoints: "step-00000123" is whole, "step-00000123.partial" is not, "latest"
// holds the first kind's name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moe::checkpoint {

inline constexpr std::string_view kLatestName = "latest", kPartialSuffix = ".partial";

std::string step_name(int64_t step);                      // 123 -> "step-00000123"
std::optional<int64_t> step_of(std::string_view name);    // none unless it is such a name, to the letter
bool is_whole(const std::filesystem::path& step_folder);  // a folder with a manifest
// Steps of the whole checkpoints in the folder, ascending; none when there is no such folder.
std::vector<int64_t> whole_steps(const std::filesystem::path& folder);

}  // namespace moe::checkpoint
