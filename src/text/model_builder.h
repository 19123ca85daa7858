// SPDX-License-Identifier: MIT
// A BytePairModel's tokens and merges from a file that may hold anything: each mistake is a UserError.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "text/byte_pair_tokenizer.h"

namespace moe::text {

class ModelBuilder {
 public:
  // file: for messages.
  explicit ModelBuilder(std::string file) : file_(std::move(file)) {}

  // A token that text becomes. where: of the token in the file. Refuses an id outside of
  // [0, BytePairModel::kMostIds), an id twice, bytes twice, no bytes.
  void add_token(const std::string& where, int64_t id, const std::string& bytes);
  // One that merges know nothing of: its bytes are for reading alone, and may be none.
  void add_other(const std::string& where, int64_t id, const std::string& bytes);
  std::optional<TokenId> find(const std::string& bytes) const;

  // Before the first merge: how many come. Refuses more than PairTable::kMostMerges.
  void expect_merges(size_t count);
  // The next merge in order; what it makes must be a token. False where the pair has one already.
  bool add_merge(const std::string& where, const std::string& left, const std::string& right);

  // Refuses a vocabulary without a token for each byte.
  void find_bytes();
  // For what is not said of tokens and merges, and in the end.
  BytePairModel& model() { return model_; }

 private:
  void take_id(const std::string& where, int64_t id, const std::string& bytes);
  TokenId token(const std::string& where, const std::string& bytes) const;

  std::string file_;
  BytePairModel model_;
  std::vector<bool> taken_;  // by id
  std::unordered_map<std::string, TokenId> ids_;
};

}  // namespace moe::text
