// SPDX-License-Identifier: MIT
// How long ago the system started this process.
#pragma once

#include <optional>

namespace moe {

// Seconds, in steps of a hundredth. None where the system does not tell.
std::optional<double> process_age();

}  // namespace moe
