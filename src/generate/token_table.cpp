// SPDX-License-Identifier: MIT
#include "generate/token_table.h"

#include <algorithm>

namespace moe::generate {

bool TokenTable::ends(text::TokenId id) const {
  return std::ranges::find(ends_, id) != ends_.end();
}

std::string_view TokenTable::bytes(text::TokenId id) const {
  return tokenizer_.bytes(id);
}

}  // namespace moe::generate
