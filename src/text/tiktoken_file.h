// SPDX-License-Identifier: MIT
// tiktoken's files: a line for each token, its bytes in base64 and its rank, which is its id. The merges
// follow from them: two neighbours merge into the token that they spell, the lowest rank first.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/byte_pair_tokenizer.h"

namespace moe::text {

// where: the file, for messages. Any bytes are a model or a UserError. The model's names, special tokens and
// pattern are the caller's: the file has none.
BytePairModel read_tiktoken(const std::string& where, std::string_view text);

// What other files of ranks are read with. Nothing where the text is no base64.
std::optional<std::string> decode_base64(std::string_view text);
// The merges that the order of the tokens implies: a token's id is its rank, or its rank behind special ones.
// Its bytes have their tokens. Throws UserError for a token that no two of lower rank make.
void find_merges(const std::string& where, BytePairModel& model);

}  // namespace moe::text
