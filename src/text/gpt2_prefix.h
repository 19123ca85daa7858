// SPDX-License-Identifier: MIT
// Vocabularies for small models without training one: GPT-2's first merges. BPE's merges are ranked, so the
// first n of them are a vocabulary of their own, which any program with GPT-2's merges can make again.
#pragma once

#include <memory>

#include "text/tokenizer.h"

namespace moe::text {

inline constexpr TokenId kLeastGpt2Prefix = 257;  // the bytes and the end of a text

// vocabulary: ids in all, kLeastGpt2Prefix to GPT-2's 50,257: the 256 bytes, what the first vocabulary - 257
// merges make, and <|endoftext|> as the last id, as in GPT-2's own. Its file is a tokenizer.json. Takes some
// 20 ms.
std::unique_ptr<const Tokenizer> gpt2_prefix(TokenId vocabulary);

}  // namespace moe::text
