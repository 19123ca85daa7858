// SPDX-License-Identifier: MIT
// Repair, cut, look up; merge what the cache does not know.
#include "text/gpt2_tokenizer.h"

#include <string>
#include <vector>

#include "base/error.h"
#include "text/bpe.h"
#include "text/piece_cache.h"
#include "text/piece_encoder.h"
#include "text/pretokenize.h"
#include "text/vocabulary.h"

namespace moe::text {

struct Gpt2Tokenizer::Tables {
  Vocabulary vocabulary{gpt2_merges()};
  BytePairEncoder<MergeTable> pairs{vocabulary.of_byte(), MergeTable(vocabulary.merges(), 256)};
};

class Gpt2Tokenizer::PieceEncoder final : public Encoder {
 public:
  explicit PieceEncoder(const Tables& tables) : tables_(tables) {}
  void encode(std::string_view text, std::vector<TokenId>& ids) override;

 private:
  const Tables& tables_;
  PieceCache<uint16_t> cache_;
  BytePairScratch scratch_;
};

void Gpt2Tokenizer::PieceEncoder::encode(std::string_view text, std::vector<TokenId>& ids) {
  text = repaired(text);
  Pretokenizer pretokenizer(text);
  encode_pieces(text, pretokenizer, cache_, ids, [this](std::string_view piece, std::vector<TokenId>& out) {
    tables_.pairs.encode(piece, out, scratch_);
  });
}

Gpt2Tokenizer::Gpt2Tokenizer() : Tokenizer(kFacts), tables_(std::make_unique<const Tables>()) {
  CHECK(tables_->vocabulary.size() == kEndOfText);
}

Gpt2Tokenizer::~Gpt2Tokenizer() = default;

std::unique_ptr<Tokenizer::Encoder> Gpt2Tokenizer::encoder() const {
  return std::make_unique<PieceEncoder>(*tables_);
}

std::string_view Gpt2Tokenizer::bytes(TokenId id) const {
  if (id < 0 || id >= tables_->vocabulary.size()) return {};
  return tables_->vocabulary.bytes(id);
}

}  // namespace moe::text
