// SPDX-License-Identifier: MIT
// Two ways to find the next pair: all candidates of a short piece are compared (a few vector instructions),
// those of a long one are kept in a heap. A candidate is (rank, position) in one number, so that its minimum
// is the lowest rank, and of equal ranks the leftmost.
#include "text/bpe.h"

#include <algorithm>
#include <functional>

namespace moe::text {

template <class Table>
void BytePairEncoder<Table>::encode(std::string_view piece, std::vector<TokenId>& ids,
                                    BytePairScratch& scratch) const {
  const auto symbol = [&](size_t i) { return of_byte_[static_cast<unsigned char>(piece[i])]; };
  encode_any(piece.size(), symbol, ids, scratch);
}

template <class Table>
void BytePairEncoder<Table>::encode_symbols(std::span<const Token> symbols, std::vector<TokenId>& ids,
                                            BytePairScratch& scratch) const {
  encode_any(
      symbols.size(), [&](size_t i) { return symbols[i]; }, ids, scratch);
}

template <class Table>
template <class Symbol>
void BytePairEncoder<Table>::encode_any(size_t size, const Symbol& symbol, std::vector<TokenId>& ids,
                                        BytePairScratch& scratch) const {
  if (size <= BytePairScratch::kShort) {
    encode_short(size, symbol, ids, scratch);
  } else {
    encode_long(size, symbol, ids, scratch);
  }
}

template <class Table>
template <class Symbol>
void BytePairEncoder<Table>::encode_short(size_t size, const Symbol& symbol, std::vector<TokenId>& ids,
                                          BytePairScratch& scratch) const {
  constexpr int kPositionBits = 8;
  static_assert(BytePairScratch::kShort + 2 <= size_t{1} << kPositionBits);
  constexpr uint32_t kDead = uint32_t{Table::kNone} << kPositionBits;  // above all that live
  constexpr size_t kVector = 16;
  uint32_t* const candidates = scratch.candidates_.data();
  uint32_t* const tokens = scratch.tokens_.data();
  uint8_t* const previous = scratch.previous_.data();
  uint8_t* const next = scratch.next_.data();
  // Positions 1 to size; 0 and size + 1 hold no token, and nothing merges with them.
  const size_t padded = (size + 1 + kVector - 1) / kVector * kVector;
  for (size_t i = 1; i <= size; ++i) {
    tokens[i] = symbol(i - 1);
    previous[i] = static_cast<uint8_t>(i - 1);
    next[i] = static_cast<uint8_t>(i + 1);
  }
  tokens[0] = tokens[size + 1] = Table::kNoToken;
  next[0] = 1;
  const auto candidate = [=, this](size_t at) {
    const uint32_t rank = merges_.find(static_cast<Token>(tokens[at]), static_cast<Token>(tokens[next[at]]));
    return rank << kPositionBits | static_cast<uint32_t>(at);
  };
  std::fill(candidates, candidates + padded, kDead);
  for (size_t i = 1; i < size; ++i) candidates[i] = candidate(i);

  while (true) {
    uint32_t best = kDead;
    for (size_t i = 0; i < padded; ++i) best = std::min(best, candidates[i]);
    if (best >= kDead) break;
    const size_t at = best & ((1u << kPositionBits) - 1);
    const size_t gone = next[at];
    tokens[at] = merges_.result(best >> kPositionBits);
    candidates[gone] = kDead;
    next[at] = next[gone];
    previous[next[at]] = static_cast<uint8_t>(at);
    candidates[at] = candidate(at);
    candidates[previous[at]] = candidate(previous[at]);
  }
  for (size_t i = 1; i <= size; i = next[i]) ids.push_back(static_cast<TokenId>(tokens[i]));
}

template <class Table>
template <class Symbol>
void BytePairEncoder<Table>::encode_long(size_t size, const Symbol& symbol, std::vector<TokenId>& ids,
                                         BytePairScratch& scratch) const {
  constexpr int kPositionBits = 40;
  auto& nodes = scratch.nodes_;
  auto& heap = scratch.heap_;
  nodes.resize(size);
  heap.clear();
  for (size_t i = 0; i < size; ++i) {
    nodes[i] = {i - 1, i + 1, symbol(i), Table::kNone};
  }
  // Sets the rank of this node with the next one; true if they merge.
  const auto pair_up = [&](size_t at) {
    BytePairScratch::Node& node = nodes[at];
    node.rank = node.next == size ? Table::kNone
                                  : merges_.find(static_cast<Token>(node.token),
                                                 static_cast<Token>(nodes[node.next].token));
    return node.rank != Table::kNone;
  };
  const auto candidate = [&](size_t at) { return uint64_t{nodes[at].rank} << kPositionBits | at; };
  const auto push = [&](size_t at) {
    if (!pair_up(at)) return;
    heap.push_back(candidate(at));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  for (size_t i = 0; i < size; ++i) {
    if (pair_up(i)) heap.push_back(candidate(i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());

  while (!heap.empty()) {
    const uint64_t best = heap.front();
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
    const size_t at = best & ((uint64_t{1} << kPositionBits) - 1);
    BytePairScratch::Node& node = nodes[at];
    if (best >> kPositionBits != node.rank) continue;  // overtaken by a merge next to it
    BytePairScratch::Node& gone = nodes[node.next];
    node.token = merges_.result(node.rank);
    node.next = gone.next;
    gone.rank = Table::kNone;
    if (node.next != size) nodes[node.next].previous = at;
    push(at);
    if (at != 0) push(node.previous);
  }
  for (size_t i = 0; i < size; i = nodes[i].next) ids.push_back(static_cast<TokenId>(nodes[i].token));
}

template class BytePairEncoder<MergeTable>;
template class BytePairEncoder<PairTable>;

}  // namespace moe::text
