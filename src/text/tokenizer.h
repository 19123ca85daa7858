// SPDX-License-Identifier: MIT
// The GPT-2 tokenizer: bytes to token ids and back. Byte-level BPE (Sennrich et al., ACL 2016; Radford et
// al., "Language models are unsupervised multitask learners", 2019) with the merges inside the program and
// the character classes of Unicode 16.0; ids equal those of tiktoken and of Hugging Face tokenizers. Special
// tokens are never parsed out of text: "<|endoftext|>" in a document is ordinary text.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/token_id.h"

namespace moe {

// Immutable after construction: any number of threads may share one, each with an Encoder of its own.
class Tokenizer {
 public:
  static constexpr TokenId kEndOfText = 50256;
  static constexpr TokenId kVocabulary = 50257;

  // What one thread carries from call to call: working memory and a cache of recent pre-tokens (about 2 MB).
  // The ids never depend on it. One Encoder serves any Tokenizer.
  class Encoder {
   public:
    Encoder();
    ~Encoder();
    Encoder(Encoder&&) noexcept;
    Encoder& operator=(Encoder&&) noexcept;

    // Stretches of invalid UTF-8 replaced so far.
    uint64_t replaced() const;

   private:
    friend class Tokenizer;
    struct State;
    std::unique_ptr<State> state_;
  };

  Tokenizer();  // some 20 ms
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // Appends the ids of `text`, each in [0, kEndOfText). Text is UTF-8; every maximal subpart of an ill-formed
  // sequence counts as one U+FFFD (Unicode 16.0, section 3.9), which is what bytes.decode("utf-8", "replace")
  // does in Python. Time is linear in the text but for pre-tokens of kilobytes (n log n in their length).
  void encode(std::string_view text, std::vector<TokenId>& ids, Encoder& encoder) const;

  // The bytes of these tokens; may end, or begin, inside a UTF-8 sequence.
  std::string decode(std::span<const TokenId> ids) const;

  // The bytes of one token, valid while the tokenizer lives. Empty for kEndOfText and for every id that is
  // not a token (the padding of a model's vocabulary).
  std::string_view bytes(TokenId id) const;

 private:
  struct Tables;
  std::unique_ptr<const Tables> tables_;
};

}  // namespace moe
