// SPDX-License-Identifier: MIT
// Byte-level BPE with any vocabulary, pattern and order of merges: what tokenizer.json and tiktoken's files
// describe. GPT-2's own (text/gpt2_tokenizer.h) is the same with tables for 65,536 ids, which are faster.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/bpe.h"
#include "text/character_rules.h"
#include "text/normalizer.h"
#include "text/split_pattern.h"
#include "text/split_steps.h"
#include "text/tokenizer.h"
#include "text/white_tokens.h"

namespace moe::text {

// Beside the BPE: a marker, which text never becomes, or white space that it does.
struct AddedToken {
  TokenId id;
  std::string content;
  bool white;
  bool special = true, left = false, right = false, single_word = false;  // as SpecialToken has them
};

struct BytePairModel {
  static constexpr TokenId kMostIds = 1'000'000;

  std::string name;  // for people
  SplitPattern pattern = SplitPattern::gpt2;
  std::shared_ptr<const SplitSteps> steps;       // in place of a pattern, where none is known for them
  std::shared_ptr<const Normalizer> normalizer;  // what text becomes first; none: it stays as it is
  bool whole_first = false;  // a piece that is a token is that token, whatever its merges make
  std::optional<CharacterRules> characters;  // in place of pattern and steps: symbols are no bytes
  std::vector<std::string> tokens;  // bytes by id; empty for special tokens and for ids without a token
  std::array<PairTable::Token, 256> of_byte{};
  PairTable merges;
  WhiteTokens white;              // these ids are in `tokens` too
  std::vector<AddedToken> added;  // by id
  TokenId end_of_text = 0;
  std::string end_of_text_name;
  std::optional<TokenId> padding;
  TokenEnds ends;
};

class BytePairTokenizer final : public Tokenizer {
 public:
  // Each id is below the number of tokens, each byte has its token, and a merge makes what it joins.
  explicit BytePairTokenizer(BytePairModel model, TokenizerOrigin origin = {});
  ~BytePairTokenizer() override;

  // As Gpt2Tokenizer's. Text is brought to the model's normal form first: its ids are those of that form.
  std::unique_ptr<Encoder> encoder() const override;
  std::string_view bytes(TokenId id) const override;
  std::string decode(std::span<const TokenId> ids) const override;
  std::vector<SpecialToken> special_tokens() const override;
  TokenEnds token_ends() const override;

 private:
  struct Tables;
  class TextEncoder;
  BytePairTokenizer(std::unique_ptr<const Tables> tables, TokenizerOrigin origin);

  std::unique_ptr<const Tables> tables_;
};

}  // namespace moe::text
