// SPDX-License-Identifier: MIT
#include "text/tokenizer.h"

#include "base/error.h"
#include "base/random.h"
#include "base/utf8.h"
#include "text/gpt2_tokenizer.h"

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

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  std::vector<TokenId> ids;
  encoder()->encode(text, ids);
  return ids;
}

uint64_t Tokenizer::fingerprint() const {
  std::string all = std::to_string(vocabulary()) + ' ' + std::to_string(end_of_text()) + ' ' +
                    std::to_string(facts_.padding.value_or(-1));
  for (TokenId id = 0; id < vocabulary(); ++id) {
    const std::string_view token = bytes(id);
    all.append(' ' + std::to_string(token.size()) + ' ').append(token);
  }
  return stream_id(all);
}

TokenizerFacts facts_of(TokenizerKind kind) {
  switch (kind) {
    case TokenizerKind::gpt2:
      return Gpt2Tokenizer::kFacts;
  }
  CHECK(false, "a tokenizer without facts");
}

std::unique_ptr<const Tokenizer> make_tokenizer(TokenizerKind kind) {
  switch (kind) {
    case TokenizerKind::gpt2:
      return std::make_unique<const Gpt2Tokenizer>();
  }
  CHECK(false, "a tokenizer without an implementation");
}

}  // namespace moe::text
