// SPDX-License-Identifier: MIT
// What the hub answers, and what Python's library keeps of it, read. The texts are untrusted
// (fuzz/hub_fuzz.cpp).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/cache.h"

namespace moe::hub {

// The commit in the answer about a revision. Throws UserError naming `where`.
std::string read_commit(const std::string& where, std::string_view answer, const std::string& hint);
// The files in a page of a listing; folders are left out. Throws UserError naming `where`.
std::vector<File> read_listing(const std::string& where, std::string_view answer, const std::string& hint);
// The files in huggingface_hub's trees/COMMIT.json. Nothing for a text that makes no sense: it is asked for
// anew, as Python does.
std::optional<std::vector<File>> read_kept_tree(std::string_view text);

}  // namespace moe::hub
