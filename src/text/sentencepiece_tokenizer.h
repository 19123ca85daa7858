// SPDX-License-Identifier: MIT
// BPE and unigram of SentencePiece, by its own library: a text is what the library makes of it, with its
// normal form, the space in front and the bytes of what no piece has. No BOS or EOS is added.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace moe::text {

class SentencePieceTokenizer final : public Tokenizer {
 public:
  // where: the file, for messages. Any bytes are a tokenizer or a UserError. name: for people.
  static std::unique_ptr<const SentencePieceTokenizer> read(const std::string& where, TokenizerOrigin origin,
                                                            std::string name);
  ~SentencePieceTokenizer() override;

  std::unique_ptr<Encoder> encoder() const override;
  // A byte piece's byte; else the piece with spaces for U+2581. The unknown piece has none.
  std::string_view bytes(TokenId id) const override;
  // As the library: without the space in front, "⁇" for the unknown piece, U+FFFD for what is no UTF-8.
  std::string decode(std::span<const TokenId> ids) const override;
  // Control pieces.
  std::vector<SpecialToken> special_tokens() const override;

 private:
  struct Tables;
  class TextEncoder;
  SentencePieceTokenizer(std::unique_ptr<const Tables> tables, TokenizerOrigin origin);

  std::unique_ptr<const Tables> tables_;
};

}  // namespace moe::text
