// SPDX-License-Identifier: MIT
// "Did you mean ...?": the known name that is fewest typing slips away.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moe {

// Slips that turn a into b: letters inserted, left out, replaced, or two neighbours swapped (optimal string
// alignment, Damerau 1964).
int edit_distance(std::string_view a, std::string_view b);

// The nearest of names, the first among equals; empty when none is near enough to be meant (more than a third
// of the letters differ).
std::string nearest_name(std::string_view name, const std::vector<std::string>& names);

}  // namespace moe
