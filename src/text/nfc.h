// SPDX-License-Identifier: MIT
// Unicode normalization form C: "e" and U+0301 become "é". The tables are libutf8proc's.
#pragma once

#include <string>
#include <string_view>

namespace moe::text {

// The form C of well-formed UTF-8, in time linear in it but for the order of marks on one letter (n log n):
// `text` itself where it has that form, else what then lies in `buffer`.
std::string_view to_nfc(std::string_view text, std::string& buffer);

}  // namespace moe::text
