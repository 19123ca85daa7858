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
  // Characters that no piece has (SentencePiece) are no bytes of a token. Nor has their source any then.
  int64_t room = 0;
  for (const text::TokenId id : ids) room += std::ssize(tokenizer.bytes(id));
  const auto take = [&room](const Replacement& one) {
    const auto taken = static_cast<int32_t>(std::min<int64_t>(one.excess, room));
    room -= taken;
    return taken;
  };
  size_t end = 0;  // of the token, in repaired; near it where the tokenizer brings text to another form (NFC)
  int32_t excess = 0;
  auto next = replacements.begin();
  for (text::TokenId& id : ids) {
    end += tokenizer.bytes(id).size();
    for (; next != replacements.end() && next->end <= end; ++next) excess += take(*next);
    const int32_t taken = std::min(excess, kMostExcess);
    id |= taken << kIdBits;
    excess -= taken;
  }
  // Another form may be shorter than `repaired`: what is behind its end goes to the last ids with room.
  for (; next != replacements.end(); ++next) excess += take(*next);
  for (auto id = ids.rbegin(); excess > 0 && id != ids.rend(); ++id) {
    const int32_t taken = std::min(excess, kMostExcess - excess_of(*id));
    *id += taken << kIdBits;
    excess -= taken;
  }
}

}  // namespace moe::data
