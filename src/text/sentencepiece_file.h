// SPDX-License-Identifier: MIT
// A .model of SentencePiece, checked for what its library takes on trust.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moe::text {

// Whether a file of this name is one: tokenizer.model, spiece.model, tokenizer.model.v3.
bool is_sentencepiece_name(std::string_view name);

struct SentencePieceFile {
  std::vector<std::string> tokens;  // the bytes of each piece by id; none for pieces that are no text
  bool space_in_front = false;      // a text begins with a space that is not its own
  // BPE of which no piece goes on past a space, and no rule of the normal form either: the ids of a text are
  // those of its words, each with the spaces in front of it.
  bool by_words = false;
};

// where: the file, for messages. Throws UserError for bytes that are none, or that the library would follow
// out of its memory.
SentencePieceFile read_sentencepiece(const std::string& where, const std::string& file);

}  // namespace moe::text
