// SPDX-License-Identifier: MIT
#include "text/sentencepiece_tokenizer.h"

#include <sentencepiece_processor.h>

#include <exception>
#include <utility>
#include <variant>

#include "base/error.h"
#include "text/piece_cache.h"
#include "text/piece_encoder.h"
#include "text/sentencepiece_file.h"
#include "text/word_cutter.h"

namespace moe::text {
namespace {

void load(const std::string& where, const std::string& file,
          sentencepiece::SentencePieceProcessor& processor) {
  std::string problem;
  try {
    if (const auto status = processor.LoadFromSerializedProto(file); !status.ok())
      problem = status.ToString();
  } catch (const std::exception& error) {  // of the tries that it builds
    problem = error.what();
  }
  if (problem.empty()) return;
  throw UserError(where, "a model that SentencePiece's library reads", problem, "fetch the file again");
}

}  // namespace

// The library's constant functions may be called from any thread.
struct SentencePieceTokenizer::Tables {
  TokenizerFacts facts;
  std::string name, end_of_text_name, padding_name;  // what facts views
  SentencePieceFile file;
  sentencepiece::SentencePieceProcessor processor;
};

class SentencePieceTokenizer::TextEncoder final : public Encoder {
 public:
  explicit TextEncoder(const Tables& tables) : tables_(tables) {
    if (tables.file.tokens.size() > 1 << 16) cache_.emplace<PieceCache<uint32_t>>();
  }

  void encode(std::string_view text, std::vector<TokenId>& ids) override {
    text = repaired(text);
    if (text.empty()) return;
    if (!tables_.file.by_words) return encode_whole(text, ids);
    if (tables_.file.space_in_front) {  // then all words have one
      spaced_.assign(1, ' ').append(text);
      text = spaced_;
    }
    std::visit([&](auto& cache) { encode_words(text, cache, ids); }, cache_);
  }

 private:
  template <class Cache>
  void encode_words(std::string_view text, Cache& cache, std::vector<TokenId>& ids) {
    WordCutter cutter(text);
    encode_pieces(text, cutter, cache, ids, [this](std::string_view word, std::vector<TokenId>& out) {
      if (tables_.file.space_in_front) word.remove_prefix(1);  // the library puts it back
      encode_whole(word, out);
    });
  }

  void encode_whole(std::string_view text, std::vector<TokenId>& ids) {
    const auto status = tables_.processor.Encode(text, &found_);
    CHECK(status.ok(), status.ToString());
    ids.insert(ids.end(), found_.begin(), found_.end());
  }

  const Tables& tables_;
  std::variant<PieceCache<uint16_t>, PieceCache<uint32_t>> cache_;  // smaller ids, more of them a word
  std::string spaced_;
  std::vector<int> found_;
};

std::unique_ptr<const SentencePieceTokenizer> SentencePieceTokenizer::read(const std::string& where,
                                                                           TokenizerOrigin origin,
                                                                           std::string name) {
  const std::string& file = origin.files.front().bytes;
  auto tables = std::make_unique<Tables>();
  tables->file = read_sentencepiece(where, file);
  sentencepiece::SentencePieceProcessor& processor = tables->processor;
  load(where, file, processor);
  const int end = processor.eos_id(), padding = processor.pad_id();
  if (end < 0) {
    throw UserError(where, "a control piece that ends a text (eos_piece)", "none",
                    "docs/tokenizers.md says what is read");
  }
  tables->name = std::move(name);
  tables->end_of_text_name = processor.IdToPiece(end);
  if (padding >= 0) tables->padding_name = processor.IdToPiece(padding);
  TokenizerFacts& facts = tables->facts;
  facts = {.name = tables->name,
           .vocabulary = static_cast<TokenId>(tables->file.tokens.size()),
           .end_of_text = end,
           .end_of_text_name = tables->end_of_text_name,
           .padding = padding < 0 ? std::nullopt : std::optional<TokenId>(padding),
           .padding_name = tables->padding_name,
           .space_in_front = tables->file.space_in_front};
  // Scores, types and settings decide ids too: all of the file counts.
  facts.fingerprint = fingerprint_of(facts, tables->file.tokens, "\nsentencepiece " + file);
  return std::unique_ptr<const SentencePieceTokenizer>(
      new SentencePieceTokenizer(std::move(tables), std::move(origin)));
}

SentencePieceTokenizer::SentencePieceTokenizer(std::unique_ptr<const Tables> tables, TokenizerOrigin origin)
    : Tokenizer(tables->facts, std::move(origin)), tables_(std::move(tables)) {
  CHECK(vocabulary() == tables_->processor.GetPieceSize() && end_of_text() < vocabulary());
}

SentencePieceTokenizer::~SentencePieceTokenizer() = default;

std::vector<SpecialToken> SentencePieceTokenizer::special_tokens() const {
  std::vector<SpecialToken> tokens;
  for (TokenId id = 0; id < vocabulary(); ++id)
    if (tables_->processor.IsControl(id))
      if (const std::string& content = tables_->processor.IdToPiece(id); !content.empty())
        tokens.push_back({.id = id, .content = content});
  return tokens;
}

std::unique_ptr<Tokenizer::Encoder> SentencePieceTokenizer::encoder() const {
  return std::make_unique<TextEncoder>(*tables_);
}

std::string_view SentencePieceTokenizer::bytes(TokenId id) const {
  if (id < 0 || id >= vocabulary()) return {};
  return tables_->file.tokens[static_cast<size_t>(id)];
}

std::string SentencePieceTokenizer::decode(std::span<const TokenId> ids) const {
  std::vector<int> known;  // a model's vocabulary may have more rows
  for (const TokenId id : ids) {
    if (id >= 0 && id < vocabulary()) known.push_back(id);
  }
  std::string text;
  const auto status = tables_->processor.Decode(known, &text);
  CHECK(status.ok(), status.ToString());
  return text;
}

}  // namespace moe::text
