// SPDX-License-Identifier: MIT
// Any bytes as gzip and as zstd: a UserError, or the same text whatever follows the stream's borders. A
// reader that has enough says so by throwing.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "data/decode.h"

namespace {

struct Enough {};

std::optional<std::string> decoded(std::string_view bytes, moe::data::Codec codec) {
  constexpr size_t kEnough = size_t{1} << 24;
  std::string text;
  int64_t used = 0;
  try {
    moe::data::decode(
        moe::MemoryInput("fuzz", bytes), codec,
        [&](std::string_view piece) {
          if (text.size() + piece.size() > kEnough) throw Enough();
          text += piece;
        },
        [&](int64_t count) { used += count; });
  } catch (const moe::UserError&) {
    return std::nullopt;
  } catch (const Enough&) {
    return std::nullopt;
  }
  CHECK(used == static_cast<int64_t>(bytes.size()));
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const auto codec : {moe::data::Codec::gzip, moe::data::Codec::zstd}) {
    const auto once = decoded(bytes, codec);
    if (!once || once->size() > 4096 || size > 4096) continue;
    const auto twice = decoded(std::string(bytes) + std::string(bytes), codec);  // members, one after another
    CHECK(twice && *twice == *once + *once);
  }
  return 0;
}
