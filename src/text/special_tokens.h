// SPDX-License-Identifier: MIT
// The special tokens of a tokenizer (text/tokenizer.h), and some more, found in a text whose writer may use
// them, as `tokenizers` finds added tokens.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace moe::text {

class SpecialTokens {
 public:
  // Those of the tokenizer, then those of `added` that it lacks, with ids from its vocabulary on.
  SpecialTokens(const Tokenizer& tokenizer, const std::vector<std::string>& added);

  struct Match {
    size_t begin = 0, end = 0;  // bytes, with the white space that the token takes
    const SpecialToken* token = nullptr;
  };
  // The leftmost in text[from, ...), of these the longest. may_begin: whether one at these bytes counts.
  template <class Counts>
  std::optional<Match> find(std::string_view text, size_t from, const Counts& counts) const {
    for (size_t at = from; at < text.size(); ++at) {
      if (!begins_[static_cast<unsigned char>(text[at])]) continue;
      for (const SpecialToken& token : tokens_) {
        if (!is_at(token, text, at) || !counts(at, at + token.content.size())) continue;
        return with_sides(token, text, from, at);
      }
    }
    return std::nullopt;
  }
  std::optional<Match> find(std::string_view text, size_t from) const {
    return find(text, from, [](size_t, size_t) { return true; });
  }

  const SpecialToken* named(std::string_view content) const;  // null: none
  const SpecialToken* of(TokenId id) const;                   // null: none
  const std::vector<SpecialToken>& tokens() const { return tokens_; }
  // Ids are below.
  TokenId vocabulary() const { return vocabulary_; }

 private:
  static bool is_at(const SpecialToken& token, std::string_view text, size_t at);
  static Match with_sides(const SpecialToken& token, std::string_view text, size_t from, size_t at);

  std::vector<SpecialToken> tokens_;  // the longest content first
  std::array<bool, 256> begins_{};    // whether a content begins with this byte
  TokenId vocabulary_ = 0;
};

}  // namespace moe::text
