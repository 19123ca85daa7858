// SPDX-License-Identifier: MIT
// Repair, normal form, tokens of white space, pieces, look up; merge what the cache does not know.
#include "text/byte_pair_tokenizer.h"

#include <fmt/core.h>

#include "base/choices.h"
#include "base/error.h"
#include "text/cutter.h"
#include "text/normalizer.h"
#include "text/piece_cache.h"
#include "text/piece_encoder.h"
#include "text/piece_name.h"
#include "text/scan.h"
#include "text/word_cutter.h"

namespace moe::text {

namespace {

// What decides ids beside the tokens and the special ids.
std::string rules_of(const BytePairModel& model) {
  std::string rules = fmt::format("\n{}{}{}", model.steps ? "steps" : name_of(model.pattern),
                                  model.normalizer ? model.normalizer->description() : "",
                                  model.whole_first ? " whole_first" : "");
  if (model.steps) rules += model.steps->description();
  if (model.characters) rules += fmt::format(" characters {}", static_cast<int>(model.characters->space));
  for (const AddedToken& token : model.added) {
    rules += fmt::format("\n{}{} {}", token.white ? "white " : "", token.id, token.content);
  }
  for (const PairMerge& merge : model.merges.merges())
    rules += fmt::format("\n{} {}", merge.left, merge.right);
  return rules;
}

TokenizerFacts facts_of(const BytePairModel& model) {
  TokenizerFacts facts{.name = {},  // of the model where it comes to rest
                       .vocabulary = static_cast<TokenId>(model.tokens.size()),
                       .end_of_text = model.end_of_text,
                       .end_of_text_name = {},
                       .padding = model.padding};
  facts.space_in_front = model.characters && model.characters->space != CharacterRules::SpaceInFront::none;
  facts.fingerprint = fingerprint_of(facts, model.tokens, rules_of(model));
  return facts;
}

}  // namespace

struct BytePairTokenizer::Tables {
  explicit Tables(BytePairModel given);

  TokenizerFacts facts;

  BytePairModel model;
  BytePairEncoder<PairTable> pairs;
  // Of a model with whole_first: the tokens that their own merges do not make, by their bytes.
  std::unordered_map<std::string_view, TokenId> unmade;
};

BytePairTokenizer::Tables::Tables(BytePairModel given)
    : facts(facts_of(given)), model(std::move(given)), pairs(model.of_byte, std::move(model.merges)) {
  facts.name = model.name;
  facts.end_of_text_name = model.end_of_text_name;
  for (const AddedToken& token : model.added) {
    if (model.padding == token.id) facts.padding_name = token.content;
  }
  if (!model.whole_first) return;
  BytePairScratch scratch;
  std::vector<TokenId> ids;
  for (size_t id = 0; id < model.tokens.size(); ++id) {
    const std::string& bytes = model.tokens[id];
    if (bytes.empty()) continue;
    ids.clear();
    pairs.encode(bytes, ids, scratch);
    const auto token = static_cast<TokenId>(id);
    if (ids.size() != 1 || ids.front() != token) unmade.emplace(bytes, token);
  }
}

class BytePairTokenizer::TextEncoder final : public Encoder {
 public:
  explicit TextEncoder(const Tables& tables) : tables_(tables) {
    if (tables.model.normalizer) normal_.emplace(*tables.model.normalizer);
  }
  void encode(std::string_view text, std::vector<TokenId>& ids) override;

 private:
  void encode_pieces_of(std::string_view text, std::vector<TokenId>& ids);
  void encode_characters(std::string_view text, std::vector<TokenId>& ids);
  void merge(std::string_view piece, std::vector<TokenId>& ids);
  void merge_characters(std::string_view piece, std::vector<TokenId>& ids);

  const Tables& tables_;
  PieceCache<uint32_t> cache_;
  BytePairScratch scratch_;
  std::optional<Normalizer::Pass> normal_;
  std::string spaced_;
  std::vector<PairTable::Token> symbols_;
};

void BytePairTokenizer::TextEncoder::encode(std::string_view text, std::vector<TokenId>& ids) {
  const BytePairModel& model = tables_.model;
  text = repaired(text);
  if (model.characters) return encode_characters(text, ids);
  if (normal_) text = normal_->apply(text);
  if (model.white.empty()) return encode_pieces_of(text, ids);
  for (size_t at = 0; at < text.size();) {
    const WhiteTokens::Match match = model.white.find(text, at);
    encode_pieces_of(text.substr(at, match.begin - at), ids);
    if (match.end != match.begin) ids.push_back(match.id);
    at = match.end;
  }
}

void BytePairTokenizer::TextEncoder::encode_pieces_of(std::string_view text, std::vector<TokenId>& ids) {
  if (text.empty()) return;
  const BytePairModel& model = tables_.model;
  const auto cutter = model.steps ? model.steps->cutter(text) : make_cutter(model.pattern, text);
  encode_pieces(text, *cutter, cache_, ids,
                [this](std::string_view piece, std::vector<TokenId>& out) { merge(piece, out); });
}

void BytePairTokenizer::TextEncoder::encode_characters(std::string_view text, std::vector<TokenId>& ids) {
  if (text.empty()) return;
  const CharacterRules& rules = *tables_.model.characters;
  using Space = CharacterRules::SpaceInFront;
  const bool has_one = text.front() == ' ' || text.starts_with(kSpaceSign);
  spaced_.assign(rules.space == Space::always || (rules.space == Space::unless_there && !has_one) ? 1 : 0,
                 ' ');
  append_with_spaces(spaced_, text);
  if (!rules.by_words) return merge_characters(spaced_, ids);
  WordCutter cutter(spaced_);
  encode_pieces(spaced_, cutter, cache_, ids,
                [this](std::string_view word, std::vector<TokenId>& out) { merge_characters(word, out); });
}

void BytePairTokenizer::TextEncoder::merge_characters(std::string_view piece, std::vector<TokenId>& ids) {
  const auto& token_of = tables_.model.characters->token_of;
  const Scan scan(piece);
  symbols_.clear();
  for (size_t at = 0; at < piece.size();) {
    const size_t end = scan.after(at);
    if (const auto found = token_of.find(scan.code_point(at)); found != token_of.end())
      symbols_.push_back(found->second);
    else
      for (const char byte : piece.substr(at, end - at))
        symbols_.push_back(tables_.pairs.of_byte(static_cast<unsigned char>(byte)));
    at = end;
  }
  tables_.pairs.encode_symbols(symbols_, ids, scratch_);
}

void BytePairTokenizer::TextEncoder::merge(std::string_view piece, std::vector<TokenId>& ids) {
  if (!tables_.unmade.empty()) {
    if (const auto found = tables_.unmade.find(piece); found != tables_.unmade.end()) {
      ids.push_back(found->second);
      return;
    }
  }
  tables_.pairs.encode(piece, ids, scratch_);
}

BytePairTokenizer::BytePairTokenizer(BytePairModel model, TokenizerOrigin origin)
    : BytePairTokenizer(std::make_unique<const Tables>(std::move(model)), std::move(origin)) {}

BytePairTokenizer::BytePairTokenizer(std::unique_ptr<const Tables> tables, TokenizerOrigin origin)
    : Tokenizer(tables->facts, std::move(origin)), tables_(std::move(tables)) {
  CHECK(vocabulary() <= BytePairModel::kMostIds && end_of_text() >= 0 && end_of_text() < vocabulary());
}

BytePairTokenizer::~BytePairTokenizer() = default;

std::unique_ptr<Tokenizer::Encoder> BytePairTokenizer::encoder() const {
  return std::make_unique<TextEncoder>(*tables_);
}

std::string BytePairTokenizer::decode(std::span<const TokenId> ids) const {
  std::string text = Tokenizer::decode(ids);
  if (facts().space_in_front && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

std::vector<SpecialToken> BytePairTokenizer::special_tokens() const {
  std::vector<SpecialToken> tokens;
  for (const AddedToken& token : tables_->model.added)
    if (!token.white)
      tokens.push_back({.id = token.id,
                        .content = token.content,
                        .special = token.special,
                        .left = token.left,
                        .right = token.right,
                        .single_word = token.single_word});
  return tokens;
}

TokenEnds BytePairTokenizer::token_ends() const {
  return tables_->model.ends;
}

std::string_view BytePairTokenizer::bytes(TokenId id) const {
  if (id < 0 || id >= vocabulary()) return {};
  return tables_->model.tokens[static_cast<size_t>(id)];
}

}  // namespace moe::text
