// SPDX-License-Identifier: MIT
#include "data/source_bytes.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"

namespace moe::data {

void mark_excess(std::string_view text, std::span<text::TokenId> ids, const text::Tokenizer& tokenizer) {
  std::string repaired;
  std::vector<Replacement> replacements;
  repair_utf8(text, repaired, &replacements);
  size_t end = 0;  // of the token, in repaired
  auto next = replacements.begin();
  for (text::TokenId& id : ids) {
    end += tokenizer.bytes(id).size();
    int32_t excess = 0;
    for (; next != replacements.end() && next->end <= end; ++next) excess += next->excess;
    CHECK(excess < 1 << (31 - kIdBits));
    id |= excess << kIdBits;
  }
  CHECK(end == repaired.size() && next == replacements.end());
}

}  // namespace moe::data
