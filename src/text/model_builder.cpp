// SPDX-License-Identifier: MIT
#include "text/model_builder.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/json.h"

namespace moe::text {

void ModelBuilder::take_id(const std::string& where, int64_t id, const std::string& bytes) {
  if (id < 0 || id >= BytePairModel::kMostIds) {
    throw UserError(where, fmt::format("an id from 0 to {}", BytePairModel::kMostIds - 1),
                    std::to_string(id));
  }
  const auto at = static_cast<size_t>(id);
  if (at >= taken_.size()) {
    taken_.resize(at + 1);
    model_.tokens.resize(at + 1);
  }
  if (taken_[at]) throw UserError(where, "one token for each id", fmt::format("a second one with {}", id));
  taken_[at] = true;
  model_.tokens[at] = bytes;
}

void ModelBuilder::add_token(const std::string& where, int64_t id, const std::string& bytes) {
  take_id(where, id, bytes);
  if (bytes.empty()) throw UserError(where, "a token of at least one byte", "none");
  if (!ids_.emplace(bytes, static_cast<TokenId>(id)).second) {
    throw UserError(where, "each token once", fmt::format("{} again", quote(Json(bytes))));
  }
}

void ModelBuilder::add_other(const std::string& where, int64_t id, const std::string& bytes) {
  take_id(where, id, bytes);
}

std::optional<TokenId> ModelBuilder::find(const std::string& bytes) const {
  const auto found = ids_.find(bytes);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

TokenId ModelBuilder::token(const std::string& where, const std::string& bytes) const {
  const std::optional<TokenId> id = find(bytes);
  if (!id) throw UserError(where, "tokens of the vocabulary", quote(Json(bytes)));
  return *id;
}

void ModelBuilder::expect_merges(size_t count) {
  if (count > PairTable::kMostMerges) {
    throw UserError(file_, fmt::format("at most {} merges", PairTable::kMostMerges), "more");
  }
  model_.merges = PairTable(count);
}

bool ModelBuilder::add_merge(const std::string& where, const std::string& left, const std::string& right) {
  const TokenId first = token(where, left), second = token(where, right);
  return model_.merges.add({first, second, token(where, left + right)});
}

void ModelBuilder::find_bytes() {
  for (int byte = 0; byte < 256; ++byte) {
    const std::optional<TokenId> id = find(std::string(1, static_cast<char>(byte)));
    if (!id) {
      throw UserError(file_, "a token for each of the 256 bytes", fmt::format("none for byte {}", byte),
                      "only byte-level BPE is read");
    }
    model_.of_byte[static_cast<size_t>(byte)] = static_cast<PairTable::Token>(*id);
  }
}

}  // namespace moe::text
