// SPDX-License-Identifier: MIT
// How SentencePiece's models name their pieces, in its own files and in the tokenizer.json made of them: with
// U+2581 for a space, and <0x41> for a byte.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace moe::text {

inline constexpr std::string_view kSpaceSign = "\xe2\x96\x81";  // U+2581

// Appends `name` with a space for each U+2581. O(n).
void append_with_spaces(std::string& text, std::string_view name);

// The byte of <0x41>, in capitals; nothing for other names.
std::optional<char> byte_of_name(std::string_view name);

// Whether a space stands behind another character: such a piece is no part of a word with the spaces in front
// of it.
bool crosses_words(std::string_view name);

}  // namespace moe::text
