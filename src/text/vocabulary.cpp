// SPDX-License-Identifier: MIT
// Reads vocab.bpe. Single bytes are tokens in the order of the alphabet.
#include "text/vocabulary.h"

#include <unordered_map>

#include "base/error.h"
#include "text/byte_alphabet.h"

extern "C" {
extern const char moe_gpt2_merges_begin[];
extern const char moe_gpt2_merges_end[];
}

namespace moe::text {
namespace {

std::string_view take_until(std::string_view& text, char end) {
  const size_t at = text.find(end);
  CHECK(at != std::string_view::npos, "the merges are cut short");
  const std::string_view taken = text.substr(0, at);
  text.remove_prefix(at + 1);
  return taken;
}

}  // namespace

std::string_view gpt2_merges() {
  return {moe_gpt2_merges_begin, static_cast<size_t>(moe_gpt2_merges_end - moe_gpt2_merges_begin)};
}

void Vocabulary::add_token(std::string_view bytes) {
  arena_.append(bytes);
  starts_.push_back(static_cast<uint32_t>(arena_.size()));
}

Vocabulary::Vocabulary(std::string_view merges) {
  starts_.push_back(0);
  for (const ByteCharacter& one : byte_characters()) {
    of_byte_[one.byte] = static_cast<uint16_t>(size());
    add_token(std::string(1, static_cast<char>(one.byte)));
  }

  std::unordered_map<std::string, uint16_t> ids;
  ids.reserve(1 << 16);
  for (int32_t id = 0; id < size(); ++id) ids.emplace(bytes(id), static_cast<uint16_t>(id));
  const auto token = [&](std::string_view characters) {
    const auto found = ids.find(bytes_of_characters(characters).value());
    CHECK(found != ids.end(), "a merge uses a token that no earlier merge made");
    return found->second;
  };
  take_until(merges, '\n');  // "#version: 0.2"
  while (!merges.empty()) {
    std::string_view line = take_until(merges, '\n');
    const uint16_t left = token(take_until(line, ' '));
    const uint16_t right = token(line);
    const auto id = static_cast<uint16_t>(size());
    merges_.push_back({left, right});
    std::string joined(bytes(left));
    joined.append(bytes(right));
    add_token(joined);
    CHECK(ids.emplace(std::move(joined), id).second, "two merges make the same token");
  }
}

}  // namespace moe::text
