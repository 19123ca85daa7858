// SPDX-License-Identifier: MIT
#include "text/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "base/utf8.h"

namespace moe::text {
namespace {

constexpr int kNoByte = -1;

constexpr bool stands_for_itself(int byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
}

// From a code point of the alphabet to its byte.
constexpr std::array<int16_t, 256 + 68> kByteOf = [] {
  std::array<int16_t, 256 + 68> table{};
  table.fill(kNoByte);
  size_t next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const size_t character = stands_for_itself(byte) ? static_cast<size_t>(byte) : next++;
    table[character] = static_cast<int16_t>(byte);
  }
  return table;
}();

}  // namespace

std::vector<ByteCharacter> byte_characters() {
  std::vector<ByteCharacter> list;
  for (size_t code = 0; code < kByteOf.size(); ++code) {
    if (kByteOf[code] == kNoByte) continue;
    list.push_back({static_cast<unsigned char>(kByteOf[code]), {}});
    append_utf8(list.back().character, static_cast<char32_t>(code));
  }
  return list;
}

std::optional<std::string> bytes_of_characters(std::string_view characters) {
  std::string bytes;
  for (size_t at = 0; at < characters.size();) {
    const CodePoint found = decode_utf8(characters.data() + at);
    if (found.value >= kByteOf.size() || kByteOf[found.value] == kNoByte) return std::nullopt;
    bytes.push_back(static_cast<char>(kByteOf[found.value]));
    at += static_cast<size_t>(found.length);
  }
  return bytes;
}

}  // namespace moe::text
