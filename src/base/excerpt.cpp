// SPDX-License-Identifier: MIT
#include "base/excerpt.h"

#include "base/utf8.h"

namespace moe {

std::string excerpt(std::string_view text, size_t most, std::string_view kept) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const bool whole = text.size() <= most;
  std::string repaired, result;
  repair_utf8(text.substr(0, most), repaired);
  if (!whole && repaired.ends_with("\uFFFD")) repaired.resize(repaired.size() - 3);  // cut inside a character
  for (size_t i = 0; i < repaired.size(); ++i) {
    const auto byte = static_cast<unsigned char>(repaired[i]);
    // U+0080 to U+009F are control characters too, of two bytes.
    const bool wide = byte == 0xC2 && static_cast<unsigned char>(repaired[i + 1]) < 0xA0;
    const bool control =
        wide || byte == 0x7F || (byte < 0x20 && kept.find(repaired[i]) == std::string_view::npos);
    if (!control) {
      result += repaired[i];
      continue;
    }
    const auto code = wide ? static_cast<unsigned char>(repaired[++i]) : byte;
    result += {'\\', 'x', kDigits[code >> 4], kDigits[code & 15]};
  }
  return whole ? result : result + "...";
}

}  // namespace moe
