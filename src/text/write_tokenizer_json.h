// SPDX-License-Identifier: MIT
// A byte-level BPE as the tokenizer.json of Hugging Face `tokenizers`: text/tokenizer_json.h reads it.
#pragma once

#include <string>

#include "text/byte_pair_tokenizer.h"

namespace moe::text {

// Reads back to the same model, but for its name. The model has no normal form and no white tokens.
std::string write_tokenizer_json(const BytePairModel& model);

}  // namespace moe::text
