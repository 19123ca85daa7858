// SPDX-License-Identifier: MIT
// Each distinct piece is a word of ids with its count. A heap has the pairs by their counts. An entry whose
// count has changed since goes back with the new one when it comes up. A merge visits only the words that had
// its pair at some time.
#include "text/train_bpe.h"

#include <algorithm>
#include <array>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "text/byte_alphabet.h"
#include "text/cutter.h"

namespace moe::text {
namespace {

using Pair = std::pair<TokenId, TokenId>;

struct PairHash {
  size_t operator()(const Pair& pair) const {
    const auto key = static_cast<uint64_t>(pair.first) << 32 | static_cast<uint32_t>(pair.second);
    return static_cast<size_t>((key * 0x9E3779B97F4A7C15u) >> 16);
  }
};

struct Word {
  std::vector<TokenId> ids;
  int64_t count;
};

struct Place {
  int64_t count = 0;            // of the pair in all words
  std::vector<uint32_t> words;  // that had it when it came up; once for each time
};

struct Entry {
  int64_t count;
  Pair pair;
  // The one that goes first is the largest.
  bool operator<(const Entry& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

class Trainer {
 public:
  explicit Trainer(const PieceCounts& pieces);

  // The most frequent pair; nothing where no two neighbours are left.
  std::optional<Pair> next();
  void merge(const Pair& pair, TokenId made);
  const std::array<TokenId, 256>& of_byte() const { return of_byte_; }

 private:
  void count(uint32_t word, int64_t sign);

  std::array<TokenId, 256> of_byte_{};
  std::vector<Word> words_;
  std::unordered_map<Pair, Place, PairHash> pairs_;
  std::priority_queue<Entry> heap_;
  std::vector<Pair> touched_;  // whose counts have grown
};

Trainer::Trainer(const PieceCounts& pieces) {
  TokenId id = 0;
  for (const ByteCharacter& one : byte_characters()) of_byte_[one.byte] = id++;
  std::vector<std::pair<std::string_view, int64_t>> sorted(pieces.counts().begin(), pieces.counts().end());
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [piece, times] : sorted) {
    Word word{.ids = {}, .count = times};
    for (const char byte : piece) word.ids.push_back(of_byte_[static_cast<unsigned char>(byte)]);
    words_.push_back(std::move(word));
    count(static_cast<uint32_t>(words_.size() - 1), 1);
  }
  touched_.clear();
  for (const auto& [pair, place] : pairs_) heap_.push({place.count, pair});
}

void Trainer::count(uint32_t word, int64_t sign) {
  const auto& [ids, times] = words_[word];
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    const Pair pair{ids[i], ids[i + 1]};
    Place& place = pairs_[pair];
    place.count += sign * times;
    if (sign < 0) continue;
    if (place.words.empty() || place.words.back() != word) place.words.push_back(word);
    touched_.push_back(pair);
  }
}

std::optional<Pair> Trainer::next() {
  while (!heap_.empty()) {
    const Entry top = heap_.top();
    heap_.pop();
    const auto found = pairs_.find(top.pair);
    if (found == pairs_.end() || found->second.count <= 0) continue;
    if (found->second.count == top.count) return top.pair;
    heap_.push({found->second.count, top.pair});
  }
  return std::nullopt;
}

void Trainer::merge(const Pair& pair, TokenId made) {
  std::vector<uint32_t> places = std::move(pairs_[pair].words);
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
  touched_.clear();
  for (const uint32_t place : places) {
    std::vector<TokenId>& ids = words_[place].ids;
    const auto is_pair = [&](size_t i) {
      return i + 1 < ids.size() && ids[i] == pair.first && ids[i + 1] == pair.second;
    };
    size_t first = 0;
    while (first < ids.size() && !is_pair(first)) ++first;
    if (first == ids.size()) continue;
    count(place, -1);
    size_t kept = first;
    for (size_t i = first; i < ids.size(); ++kept) {
      const bool joined = is_pair(i);
      ids[kept] = joined ? made : ids[i];
      i += joined ? 2 : 1;
    }
    ids.resize(kept);
    count(place, 1);
  }
  pairs_.erase(pair);
  std::sort(touched_.begin(), touched_.end());
  touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
  for (const Pair& grown : touched_) heap_.push({pairs_[grown].count, grown});
}

}  // namespace

void PieceCounts::add(std::string_view text) {
  if (well_formed_prefix(text) != text.size()) {
    repair_utf8(text, repaired_);
    text = repaired_;
  }
  const auto cutter = make_cutter(pattern_, text);
  size_t begin = 0;
  for (auto ends = cutter->next(); !ends.empty(); ends = cutter->next()) {
    for (const size_t end : ends) {
      const std::string_view piece = text.substr(begin, end - begin);
      begin = end;
      if (piece.size() > kLongest) {
        ++left_out_;
        continue;
      }
      key_.assign(piece);
      ++counts_[key_];
    }
  }
}

void PieceCounts::add(const PieceCounts& other) {
  for (const auto& [piece, count] : other.counts_) counts_[piece] += count;
  left_out_ += other.left_out_;
}

BytePairModel train_bpe(const PieceCounts& pieces, TokenId vocabulary, const std::string& end_of_text,
                        const std::function<void()>& progress) {
  CHECK(vocabulary > 256 && vocabulary <= BytePairModel::kMostIds);
  Trainer trainer(pieces);
  BytePairModel model;
  model.pattern = pieces.pattern();
  model.tokens.resize(256);
  for (size_t byte = 0; byte < 256; ++byte) {
    const TokenId id = trainer.of_byte()[byte];
    model.of_byte[byte] = static_cast<PairTable::Token>(id);
    model.tokens[static_cast<size_t>(id)] = std::string(1, static_cast<char>(byte));
  }
  // No two pairs spell one token: a stretch between two ends that no merge has crossed is what its own merges
  // make of it, wherever it stands.
  model.merges = PairTable(static_cast<size_t>(vocabulary - 257));
  while (std::ssize(model.tokens) + 1 < vocabulary) {
    const std::optional<Pair> pair = trainer.next();
    if (!pair) break;
    const auto made = static_cast<TokenId>(model.tokens.size());
    model.tokens.push_back(model.tokens[static_cast<size_t>(pair->first)] +
                           model.tokens[static_cast<size_t>(pair->second)]);
    CHECK(model.merges.add({pair->first, pair->second, made}), "a pair that merges twice");
    trainer.merge(*pair, made);
    if (progress) progress();
  }
  model.end_of_text = static_cast<TokenId>(model.tokens.size());
  model.end_of_text_name = end_of_text;
  model.added = {{model.end_of_text, end_of_text, false}};
  model.tokens.emplace_back();
  return model;
}

}  // namespace moe::text
