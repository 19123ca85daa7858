// SPDX-License-Identifier: MIT
#include "generate/token_table.h"

#include <algorithm>

namespace moe::generate {

TokenTable::TokenTable(const text::Chat& chat, const std::vector<text::TokenId>& more)
    : tokenizer_(chat.tokenizer()),
      special_(&chat.special()),
      vocabulary_(std::max(chat.vocabulary(), tokenizer_.vocabulary())),
      ends_(chat.stops()) {
  ends_.push_back(tokenizer_.end_of_text());
  ends_.insert(ends_.end(), more.begin(), more.end());
}

bool TokenTable::ends(text::TokenId id) const {
  return std::ranges::find(ends_, id) != ends_.end();
}

std::string_view TokenTable::bytes(text::TokenId id) const {
  const text::SpecialToken* token = special_ == nullptr ? nullptr : special_->of(id);
  if (token == nullptr) return tokenizer_.bytes(id);
  return token->special ? std::string_view() : std::string_view(token->content);
}

}  // namespace moe::generate
