// SPDX-License-Identifier: MIT
// tiktoken's files: a line for each token, its bytes in base64 and its rank, which is its id. The merges
// follow from them: two neighbours merge into the token that they spell, the lowest rank first.
#pragma once

#include <string>
#include <string_view>

#include "text/byte_pair_tokenizer.h"

namespace moe::text {

// where: the file, for messages. Any bytes are a model or a UserError. The model's names, special tokens and
// pattern are the caller's: the file has none.
BytePairModel read_tiktoken(const std::string& where, std::string_view text);

}  // namespace moe::text
