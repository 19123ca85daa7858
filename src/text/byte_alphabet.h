// SPDX-License-Identifier: MIT
// The alphabet in which GPT-2's files, and tokenizer.json, write bytes as printable characters: bytes 33-126,
// 161-172 and 174-255 stand for themselves, the other 68, in order, are U+0100 and on.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moe::text {

struct ByteCharacter {
  unsigned char byte;
  std::string character;  // UTF-8
};
// All 256, in the order of their code points, which is that of GPT-2's first ids.
std::vector<ByteCharacter> byte_characters();

// The bytes that these characters (well-formed UTF-8) stand for; nothing where one is not of the alphabet.
std::optional<std::string> bytes_of_characters(std::string_view characters);

}  // namespace moe::text
