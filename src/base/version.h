// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace moe {

// "moe 0.1.0": the version of CMakeLists.txt.
std::string program_version();

}  // namespace moe
