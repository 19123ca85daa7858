// SPDX-License-Identifier: MIT
// Any bytes as a token file: a UserError, or the same documents in one range and in several.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/input.h"
#include "data/token_file.h"

namespace {

std::optional<std::vector<std::vector<uint16_t>>> documents(const moe::Input& input, int64_t step) {
  const int64_t bytes = input.size() - moe::kTokenFileHeader;
  moe::Documents all;
  try {
    for (int64_t begin = 0; begin < bytes; begin += step)
      moe::read_tokens(input, begin, std::min(begin + step, bytes), all);
  } catch (const moe::UserError&) {
    return std::nullopt;
  }
  std::vector<std::vector<uint16_t>> result;
  for (int64_t i = 0; i < all.size(); ++i) result.emplace_back(all.ids(i).begin(), all.ids(i).end());
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const moe::MemoryInput raw("fuzz", std::string_view(reinterpret_cast<const char*>(data), size));
  try {
    moe::check_token_file(raw);
  } catch (const moe::UserError&) {
  }
  // Under a head that fits, so that the tokens are looked at.
  std::string file(static_cast<size_t>(moe::kTokenFileHeader), '\0');
  const int32_t head[3] = {20240520, 1, static_cast<int32_t>(size / 2)};
  file.replace(0, sizeof(head), reinterpret_cast<const char*>(head), sizeof(head));
  file.append(reinterpret_cast<const char*>(data), size / 2 * 2);
  const moe::MemoryInput input("fuzz", file);
  moe::check_token_file(input);
  if (size < 2) return 0;
  const auto bytes = static_cast<int64_t>(size / 2 * 2);
  const auto whole = documents(input, bytes);
  CHECK(documents(input, bytes / 2 + 1) == whole);
  if (size < 512) CHECK(documents(input, 3) == whole);
  return 0;
}
