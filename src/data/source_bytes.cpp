// SPDX-License-Identifier: MIT
#include "data/source_bytes.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/utf8.h"

namespace moe::data {

void mark_excess(std::string_view text, std::span<text::TokenId> ids, const text::Tokenizer& tokenizer) {
  std::string repaired;
  std::vector<Replacement> replacements;
  repair_utf8(text, repaired, &replacements);
  size_t end = 0;  // of the token, in repaired; near it where the tokenizer brings text to another form (NFC)
  int32_t excess = 0;
  auto next = replacements.begin();
  for (text::TokenId& id : ids) {
    end += tokenizer.bytes(id).size();
    for (; next != replacements.end() && next->end <= end; ++next) excess += next->excess;
    const int32_t taken = std::min(excess, kMostExcess);
    id |= taken << kIdBits;
    excess -= taken;
  }
  // Another form may be shorter than `repaired`: what is behind its end goes to the last ids with room.
  for (; next != replacements.end(); ++next) excess += next->excess;
  for (auto id = ids.rbegin(); excess > 0 && id != ids.rend(); ++id) {
    const int32_t taken = std::min(excess, kMostExcess - excess_of(*id));
    *id += taken << kIdBits;
    excess -= taken;
  }
}

}  // namespace moe::data
