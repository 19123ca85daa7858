// SPDX-License-Identifier: MIT
// Learns a byte-level BPE from the pieces of a text: the most frequent pair of neighbours merges, again and
// again (Sennrich et al., ACL 2016). Among equally frequent pairs the one of lower ids goes first, as in
// Hugging Face `tokenizers`, so the result depends on the counts alone.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "text/byte_pair_tokenizer.h"

namespace moe::text {

// How often each piece (text/cutter.h) occurs. One for each thread; they add up in any order.
class PieceCounts {
 public:
  // A longer piece is nobody's word, and costs the square of its length: it is left out, and counted.
  static constexpr size_t kLongest = 4096;

  explicit PieceCounts(SplitPattern pattern) : pattern_(pattern) {}

  // Any bytes: what is not UTF-8 counts as U+FFFD, as the tokenizer will see it.
  void add(std::string_view text);
  void add(const PieceCounts& other);

  SplitPattern pattern() const { return pattern_; }
  const std::unordered_map<std::string, int64_t>& counts() const { return counts_; }
  int64_t left_out() const { return left_out_; }

 private:
  SplitPattern pattern_;
  std::unordered_map<std::string, int64_t> counts_;
  int64_t left_out_ = 0;
  std::string repaired_, key_;
};

// vocabulary: ids in all, 257 to BytePairModel::kMostIds: the 256 bytes in the order of GPT-2's alphabet,
// what merges make, and end_of_text as the last one. There may be fewer: then no two neighbours are left.
// progress: called after each merge.
BytePairModel train_bpe(const PieceCounts& pieces, TokenId vocabulary, const std::string& end_of_text,
                        const std::function<void()>& progress = {});

}  // namespace moe::text
