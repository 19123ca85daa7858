// SPDX-License-Identifier: MIT
// Texts for tokenizers: the golden ones, and random bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/file.h"
#include "base/random.h"
#include "support/source_dir.h"

namespace moe::test {

inline std::filesystem::path golden_text_path(const std::string& name) {
  return source_dir() / "tests/golden/text" / name;
}

inline std::string golden_text(const std::string& name) {
  return read_file(golden_text_path(name));
}

// The i-th of many: up to 299 bytes, of which each third text has only ASCII.
inline std::string random_text(const Random& random, uint64_t i) {
  std::string text(random.below(i, 300), '\0');
  const bool ascii = i % 3 == 0;
  for (size_t j = 0; j < text.size(); ++j) {
    text[j] = static_cast<char>(random.bits(2000 + 300 * i + j) & (ascii ? 0x7f : 0xff));
  }
  return text;
}

}  // namespace moe::test
