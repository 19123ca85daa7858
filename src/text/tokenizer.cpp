// SPDX-License-Identifier: MIT
// Repair, cut, look up; merge what the cache does not know.
#include "text/tokenizer.h"

#include <array>

#include "base/utf8.h"
#include "text/bpe.h"
#include "text/piece_cache.h"
#include "text/pretokenize.h"
#include "text/vocabulary.h"

namespace moe {

struct Tokenizer::Encoder::State {
  PieceCache cache;
  BytePairScratch scratch;
  std::string repaired;
  uint64_t replaced = 0;
};

struct Tokenizer::Tables {
  Vocabulary vocabulary{gpt2_merges()};
  BytePairEncoder pairs{vocabulary};
};

Tokenizer::Encoder::Encoder() : state_(std::make_unique<State>()) {}
Tokenizer::Encoder::~Encoder() = default;
Tokenizer::Encoder::Encoder(Encoder&&) noexcept = default;
Tokenizer::Encoder& Tokenizer::Encoder::operator=(Encoder&&) noexcept = default;

uint64_t Tokenizer::Encoder::replaced() const {
  return state_->replaced;
}

Tokenizer::Tokenizer() : tables_(std::make_unique<const Tables>()) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

void Tokenizer::encode(std::string_view text, std::vector<TokenId>& ids, Encoder& encoder) const {
  Encoder::State& state = *encoder.state_;
  if (well_formed_prefix(text) != text.size()) {
    state.replaced += repair_utf8(text, state.repaired);
    text = state.repaired;
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
      state.cache.prefetch(keys[i]);
      at = ends[i];
    }
    for (size_t i = 0; i < ends.size(); ++i) {
      const std::string_view piece = text.substr(begin, ends[i] - begin);
      begin = ends[i];
      const bool cacheable = piece.size() <= PieceKey::kMaxLength;
      if (const PieceCache::Entry* const entry = cacheable ? state.cache.find(keys[i]) : nullptr) {
        if (count + kEntry > gathered.size()) flush();
        for (size_t j = 0; j < PieceCache::kMaxIds; ++j) gathered[count + j] = entry->ids[j];
        count += entry->count;
        continue;
      }
      flush();
      const size_t before = ids.size();
      tables_->pairs.encode(piece, ids, state.scratch);
      const std::span<const TokenId> made(ids.data() + before, ids.size() - before);
      if (cacheable && made.size() <= PieceCache::kMaxIds) state.cache.insert(keys[i], made);
    }
  }
  flush();
}

std::string Tokenizer::decode(std::span<const TokenId> ids) const {
  std::string text;
  for (const TokenId id : ids) text.append(bytes(id));
  return text;
}

std::string_view Tokenizer::bytes(TokenId id) const {
  if (id < 0 || id >= tables_->vocabulary.size()) return {};
  return tables_->vocabulary.bytes(id);
}

}  // namespace moe
