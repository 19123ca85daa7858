// SPDX-License-Identifier: MIT
// BPE over characters with a space for U+2581, and bytes for characters without a token (`byte_fallback` of
// Hugging Face `tokenizers`): what SentencePiece's models become in tokenizer.json.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "text/pair_table.h"

namespace moe::text {

struct CharacterRules {
  enum class SpaceInFront : uint8_t { none, always, unless_there };

  SpaceInFront space = SpaceInFront::none;
  bool by_words = false;  // no token has a space behind another character: words merge by themselves
  std::unordered_map<uint32_t, PairTable::Token> token_of;  // by code point
};

}  // namespace moe::text
