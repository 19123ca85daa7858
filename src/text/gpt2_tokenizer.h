// SPDX-License-Identifier: MIT
// The GPT-2 tokenizer: byte-level BPE (Sennrich et al., ACL 2016; Radford et al., "Language models are
// unsupervised multitask learners", 2019) with the merges inside the program and the character classes of
// Unicode 16.0; ids equal those of tiktoken and of Hugging Face tokenizers.
#pragma once

#include <memory>
#include <string_view>

#include "text/tokenizer.h"

namespace moe::text {

class Gpt2Tokenizer final : public Tokenizer {
 public:
  static constexpr TokenId kEndOfText = 50256;
  static constexpr TokenId kVocabulary = 50257;
  static constexpr TokenizerFacts kFacts{.name = "GPT-2",
                                         .vocabulary = kVocabulary,
                                         .end_of_text = kEndOfText,
                                         .end_of_text_name = "<|endoftext|>",
                                         .padding = std::nullopt,
                                         .fingerprint = 0xb5daa9c4c3d6b2c2};

  Gpt2Tokenizer();  // some 20 ms
  ~Gpt2Tokenizer() override;

  // With a cache of recent pre-tokens (about 2 MB). Time is linear in the text but for pre-tokens of
  // kilobytes (n log n in their length).
  std::unique_ptr<Encoder> encoder() const override;
  std::string_view bytes(TokenId id) const override;

 private:
  struct Tables;
  class PieceEncoder;
  std::unique_ptr<const Tables> tables_;
};

}  // namespace moe::text
