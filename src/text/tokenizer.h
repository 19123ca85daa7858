// SPDX-License-Identifier: MIT
// Text to token ids and back, whatever the vocabulary. Users of a tokenizer include this file alone. Which
// one it is, make_tokenizer() decides. docs/tour.md says how to add one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/choices.h"
#include "text/token_id.h"

namespace moe::text {

enum class TokenizerKind : uint8_t { gpt2 };
constexpr auto choices_of(TokenizerKind) {
  return choices<TokenizerKind>({{TokenizerKind::gpt2, "gpt2"}});
}

// What is known of a tokenizer before it is made.
struct TokenizerFacts {
  std::string_view name;    // for people: "GPT-2"
  TokenId vocabulary = 0;   // ids are in [0, vocabulary)
  TokenId end_of_text = 0;  // in front of each document
  std::string_view end_of_text_name;
  std::optional<TokenId> padding;  // not all vocabularies have one

  // What stands in a batch where no document does. The loss does not see it.
  TokenId filler() const { return padding.value_or(end_of_text); }
};
TokenizerFacts facts_of(TokenizerKind kind);

// Immutable: any number of threads may share one, each with an Encoder of its own. Special tokens are never
// parsed out of text: "<|endoftext|>" in a document is ordinary text.
class Tokenizer {
 public:
  // What one thread carries from call to call: working memory, caches. The ids never depend on it.
  class Encoder {
   public:
    Encoder() = default;
    virtual ~Encoder() = default;
    Encoder(const Encoder&) = delete;
    Encoder& operator=(const Encoder&) = delete;

    // Appends the ids of `text`, none of them special. Text is UTF-8; every maximal subpart of an ill-formed
    // sequence counts as one U+FFFD (Unicode 16.0, section 3.9), which is what
    // bytes.decode("utf-8", "replace") does in Python. The bytes of the ids are the text so repaired.
    virtual void encode(std::string_view text, std::vector<TokenId>& ids) = 0;

    // Stretches of invalid UTF-8 replaced so far.
    uint64_t replaced() const { return replaced_; }

   protected:
    // `text`, or its repaired copy where it is ill-formed; valid until the next call.
    std::string_view repaired(std::string_view text);

   private:
    uint64_t replaced_ = 0;
    std::string repaired_;
  };

  virtual ~Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  const TokenizerFacts& facts() const { return facts_; }
  TokenId vocabulary() const { return facts_.vocabulary; }
  TokenId end_of_text() const { return facts_.end_of_text; }

  // The tokenizer must outlive it.
  virtual std::unique_ptr<Encoder> encoder() const = 0;
  // The bytes of one token, valid while the tokenizer lives. Empty for special tokens and for every id that
  // is not a token (the padding of a model's vocabulary).
  virtual std::string_view bytes(TokenId id) const = 0;
  // The bytes of these tokens; may end, or begin, inside a UTF-8 sequence.
  virtual std::string decode(std::span<const TokenId> ids) const;
  // The ids of one text, for those who have no encoder at hand.
  std::vector<TokenId> encode(std::string_view text) const;
  // Of all tokens and the special ids: another number means that ids mean something else.
  uint64_t fingerprint() const;

 protected:
  explicit Tokenizer(const TokenizerFacts& facts) : facts_(facts) {}

 private:
  const TokenizerFacts facts_;
};

// GPT-2's takes some 20 ms.
std::unique_ptr<const Tokenizer> make_tokenizer(TokenizerKind kind);

}  // namespace moe::text
