// SPDX-License-Identifier: MIT
// Two ways to find the next pair: all candidates of a short piece are compared (a few vector instructions),
// those of a long one are kept in a heap. A candidate is (merged token, position) in one number, so that its
// minimum is the lowest rank, and of equal ranks the leftmost.
#include "text/bpe.h"

#include <algorithm>
#include <functional>

namespace moe::text {

BytePairEncoder::BytePairEncoder(const Vocabulary& vocabulary) : merges_(vocabulary.merges(), 256) {
  for (size_t byte = 0; byte < 256; ++byte) of_byte_[byte] = vocabulary.of_byte(static_cast<uint8_t>(byte));
}

void BytePairEncoder::encode(std::string_view piece, std::vector<TokenId>& ids,
                             BytePairScratch& scratch) const {
  if (piece.size() <= BytePairScratch::kShort) {
    encode_short(piece, ids, scratch);
  } else {
    encode_long(piece, ids, scratch);
  }
}

void BytePairEncoder::encode_short(std::string_view piece, std::vector<TokenId>& ids,
                                   BytePairScratch& scratch) const {
  constexpr uint32_t kDead = uint32_t{MergeTable::kNone} << 16;  // above all that live
  constexpr size_t kVector = 16;
  uint32_t* const candidates = scratch.candidates_.data();
  uint16_t* const tokens = scratch.tokens_.data();
  uint8_t* const previous = scratch.previous_.data();
  uint8_t* const next = scratch.next_.data();
  // Positions 1 to size; 0 and size + 1 hold no token, and nothing merges with them.
  const size_t size = piece.size();
  const size_t padded = (size + 1 + kVector - 1) / kVector * kVector;
  for (size_t i = 1; i <= size; ++i) {
    tokens[i] = of_byte_[static_cast<unsigned char>(piece[i - 1])];
    previous[i] = static_cast<uint8_t>(i - 1);
    next[i] = static_cast<uint8_t>(i + 1);
  }
  tokens[0] = tokens[size + 1] = MergeTable::kNone;
  next[0] = 1;
  const auto candidate = [=, this](size_t at) {
    return uint32_t{merges_.find(tokens[at], tokens[next[at]])} << 16 | static_cast<uint32_t>(at);
  };
  std::fill(candidates, candidates + padded, kDead);
  for (size_t i = 1; i < size; ++i) candidates[i] = candidate(i);

  while (true) {
    uint32_t best = kDead;
    for (size_t i = 0; i < padded; ++i) best = std::min(best, candidates[i]);
    if (best >= kDead) break;
    const size_t at = best & 0xffff;
    const size_t gone = next[at];
    tokens[at] = static_cast<uint16_t>(best >> 16);
    candidates[gone] = kDead;
    next[at] = next[gone];
    previous[next[at]] = static_cast<uint8_t>(at);
    candidates[at] = candidate(at);
    candidates[previous[at]] = candidate(previous[at]);
  }
  for (size_t i = 1; i <= size; i = next[i]) ids.push_back(tokens[i]);
}

void BytePairEncoder::encode_long(std::string_view piece, std::vector<TokenId>& ids,
                                  BytePairScratch& scratch) const {
  constexpr int kPositionBits = 48;
  auto& nodes = scratch.nodes_;
  auto& heap = scratch.heap_;
  const size_t size = piece.size();
  nodes.resize(size);
  heap.clear();
  for (size_t i = 0; i < size; ++i) {
    nodes[i] = {i - 1, i + 1, of_byte_[static_cast<unsigned char>(piece[i])], MergeTable::kNone};
  }
  // Sets what this node and the next one make; true if they merge.
  const auto pair_up = [&](size_t at) {
    BytePairScratch::Node& node = nodes[at];
    node.merged = node.next == size ? MergeTable::kNone : merges_.find(node.token, nodes[node.next].token);
    return node.merged != MergeTable::kNone;
  };
  const auto candidate = [&](size_t at) { return uint64_t{nodes[at].merged} << kPositionBits | at; };
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
    if (best >> kPositionBits != node.merged) continue;  // overtaken by a merge next to it
    BytePairScratch::Node& gone = nodes[node.next];
    node.token = node.merged;
    node.next = gone.next;
    gone.merged = MergeTable::kNone;
    if (node.next != size) nodes[node.next].previous = at;
    push(at);
    if (at != 0) push(node.previous);
  }
  for (size_t i = 0; i < size; i = nodes[i].next) ids.push_back(nodes[i].token);
}

}  // namespace moe::text
