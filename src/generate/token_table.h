// SPDX-License-Identifier: MIT
// What generation must know of ids: which may be chosen, which end a text, and what text each stands for.
#pragma once

#include <string_view>
#include <vector>

#include "text/chat.h"
#include "text/special_tokens.h"
#include "text/tokenizer.h"

namespace moe::generate {

class TokenTable {
 public:
  // Text as it is: it ends where a document ends. The tokenizer must outlive this.
  // Not explicit: a tokenizer is all that most texts need.
  TokenTable(const text::Tokenizer& tokenizer)  // NOLINT(google-explicit-constructor)
      : tokenizer_(tokenizer), vocabulary_(tokenizer.vocabulary()), ends_{tokenizer.end_of_text()} {}

  // An answer: it ends where the template ends one, too, and at `more`. The chat must outlive this.
  explicit TokenTable(const text::Chat& chat, const std::vector<text::TokenId>& more = {});

  text::TokenId vocabulary() const { return vocabulary_; }  // ids are below
  text::TokenId end_of_text() const { return tokenizer_.end_of_text(); }
  bool ends(text::TokenId id) const;
  // For people: empty for special tokens.
  std::string_view bytes(text::TokenId id) const;
  bool space_in_front() const { return tokenizer_.facts().space_in_front; }

 private:
  const text::Tokenizer& tokenizer_;
  const text::SpecialTokens* special_ = nullptr;  // with a text of their own
  text::TokenId vocabulary_;
  std::vector<text::TokenId> ends_;
};

}  // namespace moe::generate
