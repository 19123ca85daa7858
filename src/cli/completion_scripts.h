// SPDX-License-Identifier: MIT
// The scripts that teach a shell to ask `moe __complete` (cli/completion.h).
#pragma once

#include <string_view>

namespace moe::cli {

// shell: bash, zsh or fish.
std::string_view completion_script(std::string_view shell);

}  // namespace moe::cli
