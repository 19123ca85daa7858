// SPDX-License-Identifier: MIT
// tekken.json, Mistral's file of a tokenizer (Nemo and later): tiktoken's ranks as JSON, with its pattern and
// its special tokens. Bytes have the ranks of their values. Special tokens have the first ids, ranks the ids
// behind them, and of the ranks only as many count as the vocabulary has room for.
#pragma once

#include <string>
#include <string_view>

#include "text/byte_pair_tokenizer.h"

namespace moe::text {

// Whether these bytes look like one: a tokenizer.json has other fields.
bool is_tekken(std::string_view text);

// where: the file, for messages. Any bytes are a model or a UserError.
BytePairModel read_tekken(const std::string& where, std::string_view text);

}  // namespace moe::text
