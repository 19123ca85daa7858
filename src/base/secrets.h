// SPDX-License-Identifier: MIT
// What of an address may be shown. Addresses hold secrets: passwords before '@', signatures in the query.
// Whatever leaves the program (messages, records, reports, cards, other people's services) is passed through
// here first.
#pragma once

#include <string>
#include <string_view>

namespace moe {

// The text with each SCHEME://USER:PASSWORD@HOST/PATH?QUERY#FRAGMENT in it as SCHEME://HOST/PATH. An address
// ends at a blank, a control character, a quote, a backslash, '<' or '>'. hf:// has no such parts: there '@'
// is a revision.
std::string without_secrets(std::string_view text);
bool has_secrets(std::string_view text);

}  // namespace moe
