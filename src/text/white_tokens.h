// SPDX-License-Identifier: MIT
// Tokens of white space that are cut out of text before anything else: GPT-NeoX and OLMo have runs of spaces
// beside their BPE. The longest at the leftmost place.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/token_id.h"

namespace moe::text {

class WhiteTokens {
 public:
  struct Match {
    size_t begin, end;
    TokenId id;
  };
  static constexpr size_t kLongest = 256;  // bytes of one token: the most that a place of a text can cost

  // Whether it may be one: not empty, ASCII white space alone, at most kLongest.
  static bool fits(std::string_view content);

  WhiteTokens() : nodes_(1) {}
  // content: fits().
  void add(std::string_view content, TokenId id);
  bool empty() const { return nodes_.size() == 1; }

  // The first match from `at` on; one that begins at the end of the text where there is none.
  Match find(std::string_view text, size_t at) const;

 private:
  static constexpr size_t kNone = 6;  // no white space
  struct Node {
    std::array<uint32_t, kNone> next{};  // 0: none
    TokenId id = -1;
  };

  static size_t index(char byte) {
    if (byte == ' ') return 5;
    return byte >= '\t' && byte <= '\r' ? static_cast<size_t>(byte - '\t') : kNone;
  }

  std::vector<Node> nodes_;  // a trie, its root first
};

}  // namespace moe::text
