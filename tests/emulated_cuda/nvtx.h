// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace emulated_cuda {

// The ranges since the last call: each one's name where it began, "end" where one ended.
std::vector<std::string> take_ranges();

}  // namespace emulated_cuda
