// SPDX-License-Identifier: MIT
#include "text/tokenizer.h"

#include <fmt/core.h>

#include "base/random.h"
#include "base/utf8.h"

namespace moe::text {

std::string_view Tokenizer::Encoder::repaired(std::string_view text) {
  if (well_formed_prefix(text) == text.size()) return text;
  replaced_ += repair_utf8(text, repaired_);
  return repaired_;
}

std::string Tokenizer::decode(std::span<const TokenId> ids) const {
  std::string text;
  for (const TokenId id : ids) text.append(bytes(id));
  return text;
}

std::vector<SpecialToken> Tokenizer::special_tokens() const {
  std::vector<SpecialToken> tokens;
  if (!facts_.end_of_text_name.empty())
    tokens.push_back({.id = facts_.end_of_text, .content = std::string(facts_.end_of_text_name)});
  if (facts_.padding && *facts_.padding != facts_.end_of_text && !facts_.padding_name.empty())
    tokens.push_back({.id = *facts_.padding, .content = std::string(facts_.padding_name)});
  return tokens;
}

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  std::vector<TokenId> ids;
  encoder()->encode(text, ids);
  return ids;
}

uint64_t fingerprint_of(const TokenizerFacts& facts, std::span<const std::string> tokens,
                        std::string_view more) {
  std::string all = std::to_string(facts.vocabulary) + ' ' + std::to_string(facts.end_of_text) + ' ' +
                    std::to_string(facts.padding.value_or(-1));
  for (const std::string& token : tokens) all.append(' ' + std::to_string(token.size()) + ' ').append(token);
  return stream_id(all.append(more));
}

std::string fingerprint_text(uint64_t fingerprint) {
  return fmt::format("{:016x}", fingerprint);
}

}  // namespace moe::text
