// SPDX-License-Identifier: MIT
#include "text/special_tokens.h"

#include <algorithm>

#include "base/utf8.h"
#include "text/unicode.h"

namespace moe::text {
namespace {

// \w of Rust's patterns, but for join controls.
bool is_word(char32_t c) {
  const CharacterClass kind = UnicodeClasses::instance()(c);
  return c == '_' || (classes_of(kind) & (kLetters | kNumbers | classes_of(CharacterClass::kMark))) != 0;
}
bool is_white(char32_t c) {
  return (classes_of(UnicodeClasses::instance()(c)) & kWhite) != 0;
}

// Where the character begins that ends at `end`, which is not 0.
size_t character_before(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && is_continuation(text[at])) --at;
  return at;
}

}  // namespace

SpecialTokens::SpecialTokens(const Tokenizer& tokenizer, const std::vector<std::string>& added)
    : tokens_(tokenizer.special_tokens()), vocabulary_(tokenizer.vocabulary()) {
  for (const std::string& content : added)
    if (named(content) == nullptr) tokens_.push_back({.id = vocabulary_++, .content = content});
  std::stable_sort(tokens_.begin(), tokens_.end(), [](const SpecialToken& a, const SpecialToken& b) {
    return a.content.size() > b.content.size();
  });
  for (const SpecialToken& token : tokens_) begins_[static_cast<unsigned char>(token.content[0])] = true;
}

bool SpecialTokens::is_at(const SpecialToken& token, std::string_view text, size_t at) {
  if (text.compare(at, token.content.size(), token.content) != 0) return false;
  if (!token.single_word) return true;
  const size_t end = at + token.content.size();
  if (at > 0 && is_word(decode_utf8(text.data() + character_before(text, at)).value)) return false;
  return end == text.size() || !is_word(decode_utf8(text.data() + end).value);
}

SpecialTokens::Match SpecialTokens::with_sides(const SpecialToken& token, std::string_view text, size_t from,
                                               size_t at) {
  Match match{.begin = at, .end = at + token.content.size(), .token = &token};
  while (token.left && match.begin > from) {
    const size_t before = character_before(text, match.begin);
    if (before < from || !is_white(decode_utf8(text.data() + before).value)) break;
    match.begin = before;
  }
  while (token.right && match.end < text.size()) {
    const CodePoint next = decode_utf8(text.data() + match.end);
    if (!is_white(next.value)) break;
    match.end += static_cast<size_t>(next.length);
  }
  return match;
}

const SpecialToken* SpecialTokens::named(std::string_view content) const {
  const auto found = std::find_if(tokens_.begin(), tokens_.end(),
                                  [&](const SpecialToken& token) { return token.content == content; });
  return found == tokens_.end() ? nullptr : &*found;
}

const SpecialToken* SpecialTokens::of(TokenId id) const {
  const auto found =
      std::find_if(tokens_.begin(), tokens_.end(), [&](const SpecialToken& token) { return token.id == id; });
  return found == tokens_.end() ? nullptr : &*found;
}

}  // namespace moe::text
