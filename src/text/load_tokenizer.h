// SPDX-License-Identifier: MIT
// Tokenizers from other people's files.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "text/split_pattern.h"
#include "text/tokenizer.h"

namespace moe::text {

// path: a tokenizer.json or tekken.json, or a folder that has one (the first, where it has both);
// tokenizer_config.json beside tokenizer.json names special tokens.
// name: for people; "" is the folder's. Where the file is GPT-2's, this is the tokenizer inside the program.
std::unique_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& path, std::string name = "");

// path: a file of tiktoken's, which says neither how text is cut nor what its special tokens are.
// end_of_text: its id, which no token of the file has; the first one above all of them if it is -1.
std::unique_ptr<const Tokenizer> load_tiktoken(const std::filesystem::path& path, SplitPattern pattern,
                                               TokenId end_of_text = -1, std::string name = "");

// The file of a folder that load_tokenizer() reads, whether it is there or not; a file itself.
std::filesystem::path tokenizer_file(const std::filesystem::path& path);

// A tokenizer from a file as a tokenizer.json: its own, or one that reads back to the same fingerprint.
std::string tokenizer_as_json(const Tokenizer& tokenizer);

}  // namespace moe::text
