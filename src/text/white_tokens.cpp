// SPDX-License-Identifier: MIT
#include "text/white_tokens.h"

#include <algorithm>

#include "base/error.h"

namespace moe::text {

bool WhiteTokens::fits(std::string_view content) {
  return !content.empty() && content.size() <= kLongest &&
         std::all_of(content.begin(), content.end(), [](char byte) { return index(byte) != kNone; });
}

void WhiteTokens::add(std::string_view content, TokenId id) {
  CHECK(fits(content));
  size_t node = 0;
  for (const char byte : content) {
    const size_t way = index(byte);
    if (nodes_[node].next[way] == 0) {
      nodes_[node].next[way] = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back();
    }
    node = nodes_[node].next[way];
  }
  nodes_[node].id = id;
}

WhiteTokens::Match WhiteTokens::find(std::string_view text, size_t at) const {
  for (; at < text.size(); ++at) {
    Match longest{at, at, -1};
    size_t node = 0;
    for (size_t end = at; end < text.size() && index(text[end]) != kNone;) {
      node = nodes_[node].next[index(text[end])];
      if (node == 0) break;
      ++end;
      if (nodes_[node].id >= 0) longest = {at, end, nodes_[node].id};
    }
    if (longest.end != at) return longest;
  }
  return {text.size(), text.size(), -1};
}

}  // namespace moe::text
