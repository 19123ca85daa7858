// SPDX-License-Identifier: MIT
// Tokenizers from other people's files.
#pragma once

#include <filesystem>
#include <memory>

#include "text/split_pattern.h"
#include "text/tokenizer.h"

namespace moe::text {

// path: a tokenizer.json, or a folder that has one; tokenizer_config.json beside it names special tokens.
std::unique_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& path);

// path: a file of tiktoken's, which says neither how text is cut nor what its special tokens are.
// end_of_text: its id, which no token of the file has; the first one above all of them if it is -1.
std::unique_ptr<const Tokenizer> load_tiktoken(const std::filesystem::path& path, SplitPattern pattern,
                                               TokenId end_of_text = -1);

}  // namespace moe::text
