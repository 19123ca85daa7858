// SPDX-License-Identifier: MIT
// What a process that died has left beside the place that it wrote for. Who writes a temporary file or folder
// holds its lock (flock); where the file system has no locks, all of them stay.
#pragma once

#include <filesystem>
#include <string_view>

namespace moe {

// Removes the files and folders beside `path` that are called NAME + infix + digits, and that nobody has
// locked. Best effort: what stays is in nobody's way. Links are not followed.
void sweep_leftovers(const std::filesystem::path& path, std::string_view infix);

}  // namespace moe
