// SPDX-License-Identifier: MIT
// tokenizer.json, the file of Hugging Face `tokenizers`, as far as it describes byte-level BPE. What it asks
// for and what has no counterpart here is refused by its name.
#pragma once

#include <string>
#include <string_view>

#include "text/byte_pair_tokenizer.h"

namespace moe::text {

// What tokenizer_config.json says; "" where it says nothing.
struct NamedTokens {
  std::string end_of_text, padding;
};

// where: the file, for messages. Any bytes are a model or a UserError.
NamedTokens read_tokenizer_config(const std::string& where, std::string_view text);
BytePairModel read_tokenizer_json(const std::string& where, std::string_view text, const NamedTokens& named);

}  // namespace moe::text
