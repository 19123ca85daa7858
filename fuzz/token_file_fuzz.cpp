// SPDX-License-Identifier: MIT
// Any bytes as a token file: a UserError, or the same documents in one range and in several.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/input.h"
#include "data/token_file.h"
#include "text/gpt2_tokenizer.h"

namespace {

constexpr moe::text::TokenizerFacts kGpt2 = moe::text::Gpt2Tokenizer::kFacts;
constexpr moe::text::TokenizerFacts kWide{.name = "wide",
                                          .vocabulary = 200'000,
                                          .end_of_text = 65'536,
                                          .end_of_text_name = "<end>",
                                          .padding = std::nullopt,
                                          .fingerprint = 0x0123456789abcdef};

std::optional<std::vector<std::vector<moe::text::TokenId>>> documents(
    const moe::Input& input, const moe::data::TokenFileHeader& header, const moe::text::TokenizerFacts& facts,
    int64_t step) {
  const int64_t bytes = input.size() - moe::data::kTokenFileHeaderBytes;
  moe::data::Documents all;
  try {
    for (int64_t begin = 0; begin < bytes; begin += step)
      moe::data::read_tokens(input, header, facts, begin, std::min(begin + step, bytes), all);
  } catch (const moe::UserError&) {
    return std::nullopt;
  }
  std::vector<std::vector<moe::text::TokenId>> result;
  for (int64_t i = 0; i < all.size(); ++i) result.emplace_back(all.ids(i).begin(), all.ids(i).end());
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const moe::MemoryInput raw("fuzz", std::string_view(reinterpret_cast<const char*>(data), size));
  try {
    moe::data::read_token_file_header(raw);
  } catch (const moe::UserError&) {
  }
  // Under a head that fits, so that the tokens are looked at.
  for (const auto& [magic, version, width] : {std::array{20240520, 1, 2}, {20240801, 7, 4}}) {
    const moe::text::TokenizerFacts& facts = width == 2 ? kGpt2 : kWide;
    const size_t tokens = size / static_cast<size_t>(width);
    std::string file(static_cast<size_t>(moe::data::kTokenFileHeaderBytes), '\0');
    const uint64_t mark = width == 2 ? 0 : kWide.fingerprint;
    const int32_t head[5] = {magic, version, static_cast<int32_t>(tokens), static_cast<int32_t>(mark),
                             static_cast<int32_t>(mark >> 32)};
    file.replace(0, sizeof(head), reinterpret_cast<const char*>(head), sizeof(head));
    file.append(reinterpret_cast<const char*>(data), tokens * static_cast<size_t>(width));
    const moe::MemoryInput input("fuzz", file);
    const moe::data::TokenFileHeader header = moe::data::read_token_file_header(input);
    CHECK(header.width == width && header.fingerprint == mark);
    if (tokens == 0) continue;
    const auto bytes = static_cast<int64_t>(tokens) * width;
    const auto whole = documents(input, header, facts, bytes);
    CHECK(documents(input, header, facts, bytes / 2 + 1) == whole);
    if (size < 512) CHECK(documents(input, header, facts, 3) == whole);
  }
  return 0;
}
