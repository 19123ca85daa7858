// SPDX-License-Identifier: MIT
// What lm-evaluation-harness does to texts before it asks, with Python's meaning of each step.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace moe::tasks {

int64_t code_points(std::string_view utf8);
// The first character in upper case and all others in lower case, as str.capitalize() (but for characters
// that change their number: those are left as they are).
std::string capitalized(std::string_view utf8);
// Without white space at both ends, and at the right one only: str.strip() and str.rstrip(), so that a
// no-break space counts. Bytes that are no UTF-8 count as no white space.
std::string_view strip(std::string_view utf8);
std::string_view strip_right(std::string_view utf8);
// HellaSwag's marks of WikiHow: strip, " [title]" becomes ". ", other [...] go, two spaces become one (once).
std::string clean_wikihow(std::string_view text);

}  // namespace moe::tasks
