// SPDX-License-Identifier: MIT
// A small file that holds secrets: written as base/file.h writes, and only the owner may read it.
#pragma once

#include <filesystem>
#include <string_view>

namespace moe {

// UserError where it cannot be written.
void write_private_file_atomically(const std::filesystem::path& path, std::string_view bytes);

}  // namespace moe
