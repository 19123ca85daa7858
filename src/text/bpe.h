// SPDX-License-Identifier: MIT
// Byte-pair merging of one pre-token: repeatedly the pair of neighbours with the lowest rank, leftmost first,
// as in GPT-2's encoder.py. No cache here and no cutting of text.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "text/merge_table.h"
#include "text/pair_table.h"
#include "text/token_id.h"

namespace moe::text {

// Working memory of one thread.
class BytePairScratch {
  template <class Table>
  friend class BytePairEncoder;

  static constexpr size_t kShort = 128;  // the longest piece that a search of all pairs serves best
  struct Node {
    size_t previous, next;
    uint32_t token, rank;  // rank: of the merge of this token and the next one, kNone if there is none
  };

  std::array<uint32_t, kShort + 16> candidates_;
  std::array<uint32_t, kShort + 2> tokens_;
  std::array<uint8_t, kShort + 2> previous_, next_;
  std::vector<Node> nodes_;
  std::vector<uint64_t> heap_;
};

// Table: MergeTable, or PairTable for vocabularies that it is too small for.
template <class Table>
class BytePairEncoder {
 public:
  using Token = typename Table::Token;

  // of_byte: the tokens of the single bytes.
  BytePairEncoder(const std::array<Token, 256>& of_byte, Table merges)
      : of_byte_(of_byte), merges_(std::move(merges)) {}

  // Appends the ids of `piece` (any bytes). O(n log n).
  void encode(std::string_view piece, std::vector<TokenId>& ids, BytePairScratch& scratch) const;
  // The same of a piece that is these tokens at first, in place of its bytes'.
  void encode_symbols(std::span<const Token> symbols, std::vector<TokenId>& ids,
                      BytePairScratch& scratch) const;
  Token of_byte(unsigned char byte) const { return of_byte_[byte]; }

  // For those who find the merges one after another.
  Table& merges() { return merges_; }

 private:
  // symbol(i): the first token of place i < size.
  template <class Symbol>
  void encode_any(size_t size, const Symbol& symbol, std::vector<TokenId>& ids,
                  BytePairScratch& scratch) const;
  template <class Symbol>
  void encode_short(size_t size, const Symbol& symbol, std::vector<TokenId>& ids,
                    BytePairScratch& scratch) const;
  template <class Symbol>
  void encode_long(size_t size, const Symbol& symbol, std::vector<TokenId>& ids,
                   BytePairScratch& scratch) const;

  std::array<Token, 256> of_byte_;
  Table merges_;
};

extern template class BytePairEncoder<MergeTable>;
extern template class BytePairEncoder<PairTable>;

}  // namespace moe::text
