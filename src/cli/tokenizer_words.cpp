// SPDX-License-Identifier: MIT
#include "cli/tokenizer_words.h"

#include <fmt/format.h>

namespace moe::cli {

std::string tokenizer_words(const text::TokenizerFacts& tokenizer) {
  return fmt::format("{}, {} ids, {} ({}) between documents", tokenizer.name, tokenizer.vocabulary,
                     tokenizer.end_of_text_name, tokenizer.end_of_text);
}

}  // namespace moe::cli
