// SPDX-License-Identifier: MIT
// Repair, cut, look up; merge what the cache does not know.
#include "text/gpt2_tokenizer.h"

#include <array>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "text/bpe.h"
#include "text/piece_cache.h"
#include "text/pretokenize.h"
#include "text/vocabulary.h"

namespace moe::text {

struct Gpt2Tokenizer::Tables {
  Vocabulary vocabulary{gpt2_merges()};
  BytePairEncoder pairs{vocabulary};
};

class Gpt2Tokenizer::PieceEncoder final : public Encoder {
 public:
  explicit PieceEncoder(const Tables& tables) : tables_(tables) {}
  void encode(std::string_view text, std::vector<TokenId>& ids) override;

 private:
  const Tables& tables_;
  PieceCache cache_;
  BytePairScratch scratch_;
  std::string repaired_;
};

void Gpt2Tokenizer::PieceEncoder::encode(std::string_view text, std::vector<TokenId>& ids) {
  if (well_formed_prefix(text) != text.size()) {
    replaced_ += repair_utf8(text, repaired_);
    text = repaired_;
  }

  // Ids gather here before they are appended: an entry is copied whole, whatever its count.
  constexpr size_t kEntry = PieceCache::kMaxIds + 1;
  std::array<TokenId, 1024> gathered;
  size_t count = 0;
  const auto flush = [&] {
    ids.insert(ids.end(), gathered.begin(), gathered.begin() + static_cast<ptrdiff_t>(count));
    count = 0;
  };

  Pretokenizer pretokenizer(text);
  std::array<PieceKey, Pretokenizer::kMaxBatch> keys;
  size_t begin = 0;
  for (auto ends = pretokenizer.next(); !ends.empty(); ends = pretokenizer.next()) {
    size_t at = begin;
    for (size_t i = 0; i < ends.size(); ++i) {
      const std::string_view piece = text.substr(at, ends[i] - at);
      keys[i] = PieceKey::of(piece, text.size() - at >= sizeof(PieceKey));
      cache_.prefetch(keys[i]);
      at = ends[i];
    }
    for (size_t i = 0; i < ends.size(); ++i) {
      const std::string_view piece = text.substr(begin, ends[i] - begin);
      begin = ends[i];
      const bool cacheable = piece.size() <= PieceKey::kMaxLength;
      if (const PieceCache::Entry* const entry = cacheable ? cache_.find(keys[i]) : nullptr) {
        if (count + kEntry > gathered.size()) flush();
        for (size_t j = 0; j < PieceCache::kMaxIds; ++j) gathered[count + j] = entry->ids[j];
        count += entry->count;
        continue;
      }
      flush();
      const size_t before = ids.size();
      tables_.pairs.encode(piece, ids, scratch_);
      const std::span<const TokenId> made(ids.data() + before, ids.size() - before);
      if (cacheable && made.size() <= PieceCache::kMaxIds) cache_.insert(keys[i], made);
    }
  }
  flush();
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
