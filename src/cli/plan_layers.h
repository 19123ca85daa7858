// SPDX-License-Identifier: MIT
// Which file or override of a configuration in layers changed what, for `moe plan`.
#pragma once

#include <string>
#include <vector>

#include "base/config_file.h"

namespace moe::cli {

// Lines of the plan: for each layer over the first file, the settings to which it gave another value. ""
// where there is one layer.
std::string layers_words(const std::vector<ConfigText>& files, const std::vector<std::string>& overrides);

}  // namespace moe::cli
