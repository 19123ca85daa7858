// SPDX-License-Identifier: MIT
// Unicode's normalization forms (Unicode Standard Annex 15). The tables are libutf8proc's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/choices.h"

namespace moe::text {

// Apart (D) or together (C) by canonical equivalence: "e" and U+0301 are "é". K: by compatibility, too, by
// which U+FB01 is "fi".
enum class UnicodeForm : uint8_t { nfc, nfd, nfkc, nfkd };
constexpr auto choices_of(UnicodeForm) {  // names as in tokenizer.json
  return choices<UnicodeForm>({{UnicodeForm::nfc, "NFC"},
                               {UnicodeForm::nfd, "NFD"},
                               {UnicodeForm::nfkc, "NFKC"},
                               {UnicodeForm::nfkd, "NFKD"}});
}

// That form of well-formed UTF-8, in time linear in it but for the order of marks on one letter (n log n): in
// `buffer`, or `text` itself where it is seen to have form C already. At most 11 times as long.
std::string_view to_form(UnicodeForm form, std::string_view text, std::string& buffer);

// Each character's lower case by itself, as Rust's char::to_lowercase has it.
std::string_view to_lowercase(std::string_view text, std::string& buffer);

}  // namespace moe::text
