// SPDX-License-Identifier: MIT
// Text to token ids and back, whatever the vocabulary. Users of a tokenizer include this file alone. Which
// one it is, open_tokenizer() decides (text/open_tokenizer.h). docs/tour.md says how to add one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/token_id.h"

namespace moe::text {

struct TokenizerFacts {
  std::string_view name;    // for people: "GPT-2"
  TokenId vocabulary = 0;   // ids are in [0, vocabulary)
  TokenId end_of_text = 0;  // in front of each document
  std::string_view end_of_text_name;
  std::optional<TokenId> padding;  // not all vocabularies have one
  std::string_view padding_name = {};
  // The bytes of a text's ids begin with a space more than the text, which decode() leaves out.
  bool space_in_front = false;
  // Of all that decides which ids a text has, and what they mean: another number is another tokenizer. Token
  // files and checkpoints hold it. 0: not known.
  uint64_t fingerprint = 0;

  // What stands in a batch where no document does. The loss does not see it.
  TokenId filler() const { return padding.value_or(end_of_text); }
};

// A token beside the vocabulary that stands for a text of its own, such as "<|im_end|>".
struct SpecialToken {
  TokenId id = 0;
  std::string content{};             // not empty
  bool special = true;               // left out of a text for people
  bool left = false, right = false;  // takes the white space on this side into itself
  bool single_word = false;          // not inside of a word
};

// Which characters a token of tokenizers' has, where it is asked for: white space at its ends may not count.
// It decides which tokens belong to an assistant (text/chat.h).
struct TokenEnds {
  bool spaces_count = true;
  bool first_keeps_one = false;  // of a text; where spaces do not count
};

// What a tokenizer was read from: enough to keep it, and to hand it on.
struct TokenizerOrigin {
  struct File {
    std::string name, bytes;
  };
  std::vector<File> files;  // the one that has the vocabulary first; none: it is inside the program
  std::string pattern;      // how tiktoken's file is cut (text/split_pattern.h); "": the file says it
};

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
    // bytes.decode("utf-8", "replace") does in Python. The bytes of the ids are the text so repaired, in the
    // tokenizer's normal form.
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
  // Those that encode() never finds, by id.
  virtual std::vector<SpecialToken> special_tokens() const;
  virtual TokenEnds token_ends() const { return {}; }
  uint64_t fingerprint() const { return facts_.fingerprint; }
  const TokenizerOrigin& origin() const { return origin_; }

 protected:
  explicit Tokenizer(const TokenizerFacts& facts, TokenizerOrigin origin = {})
      : facts_(facts), origin_(std::move(origin)) {}

 private:
  const TokenizerFacts facts_;
  const TokenizerOrigin origin_;
};

// The fingerprint of these facts (but their own), of each id's bytes in order, and of `more`: what else
// decides ids. GPT-2's has nothing more.
uint64_t fingerprint_of(const TokenizerFacts& facts, std::span<const std::string> tokens,
                        std::string_view more);
// As files and messages write it: 16 digits.
std::string fingerprint_text(uint64_t fingerprint);

}  // namespace moe::text
