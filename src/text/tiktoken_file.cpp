// SPDX-License-Identifier: MIT
// A token's merge is found by merging its bytes by those of lower rank: two tokens must be left. Wherever two
// neighbours spell this token, they are these two, because merges inside of a stretch of text do not depend
// on what is outside of it.
#include "text/tiktoken_file.h"

#include <fmt/core.h>

#include <array>
#include <cstdint>
#include <optional>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/lines.h"
#include "base/parse_number.h"
#include "text/bpe.h"
#include "text/model_builder.h"

namespace moe::text {
namespace {

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<int8_t, 256> kValueOf = [] {
  std::array<int8_t, 256> table{};
  table.fill(-1);
  for (size_t i = 0; i < kDigits.size(); ++i) {
    table[static_cast<unsigned char>(kDigits[i])] = static_cast<int8_t>(i);
  }
  return table;
}();

void read_tokens(const std::string& where, std::string_view text, ModelBuilder& builder) {
  for (size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = take_line(text);
    if (line.empty() && text.empty()) return;
    const std::string place = fmt::format("{}:{}", where, number);
    const size_t space = line.find(' ');
    const bool two = space != std::string_view::npos;
    const std::optional<std::string> bytes = two ? decode_base64(line.substr(0, space)) : std::nullopt;
    const std::optional<int64_t> rank = two ? parse_number<int64_t>(line.substr(space + 1)) : std::nullopt;
    if (!bytes || !rank) throw UserError(place, "a token in base64, a space and its rank", excerpt(line));
    builder.add_token(place, *rank, *bytes);
  }
}

}  // namespace

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char digit : text) {
    const int8_t value = kValueOf[static_cast<unsigned char>(digit)];
    if (value < 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<char>(bits >> count & 0xff));
  }
  return bytes;
}

void find_merges(const std::string& where, BytePairModel& model) {
  BytePairEncoder<PairTable> pairs(model.of_byte, PairTable(model.tokens.size()));
  BytePairScratch scratch;
  std::vector<TokenId> parts;
  for (size_t rank = 0; rank < model.tokens.size(); ++rank) {
    const std::string& token = model.tokens[rank];
    if (token.size() < 2) continue;
    parts.clear();
    pairs.encode(token, parts, scratch);
    if (parts.size() != 2) {
      throw UserError(fmt::format("{}: the token of rank {}", where, rank),
                      "two tokens of lower rank that it merges from", fmt::format("{}", parts.size()));
    }
    CHECK(pairs.merges().add({parts[0], parts[1], static_cast<TokenId>(rank)}),
          "two tokens of the same bytes");
  }
  model.merges = std::move(pairs.merges());
}

BytePairModel read_tiktoken(const std::string& where, std::string_view text) {
  ModelBuilder builder(where);
  read_tokens(where, text, builder);
  builder.find_bytes();
  find_merges(where, builder.model());
  return std::move(builder.model());
}

}  // namespace moe::text
