// SPDX-License-Identifier: MIT
// Which tokenizer it is, in one line for people: `moe plan`, `moe train` and `moe tokenize` say it.
#pragma once

#include <string>

#include "text/tokenizer.h"

namespace moe::cli {

// "GPT-2, 50257 ids, <|endoftext|> (50256) between documents"
std::string tokenizer_words(const text::TokenizerFacts& tokenizer);

}  // namespace moe::cli
