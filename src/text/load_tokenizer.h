// SPDX-License-Identifier: MIT
// Tokenizers from other people's files.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "text/split_pattern.h"
#include "text/tokenizer.h"

namespace moe::text {

inline constexpr const char* kSentencePieceFile = "tokenizer.model";

// path: a tokenizer.json, tekken.json or tokenizer.model, or a folder that has one: the first of these, but a
// tokenizer.model rather than the tokenizer.json that it was converted to. tokenizer_config.json beside
// tokenizer.json names special tokens. A file of SentencePiece is known by its name, which ends in .model or
// has .model.v in it.
// name: for people; "" is the folder's. Where the file is GPT-2's, this is the tokenizer inside the program.
// without: contents of added tokens that a tokenizer.json is read without (a chat template's: text/chat.h).
std::unique_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& path, std::string name = "",
                                                const std::vector<std::string>& without = {});

// path: a file of tiktoken's, which says neither how text is cut nor what its special tokens are.
// end_of_text: its id, which no token of the file has; the first one above all of them if it is -1.
std::unique_ptr<const Tokenizer> load_tiktoken(const std::filesystem::path& path, SplitPattern pattern,
                                               TokenId end_of_text = -1, std::string name = "");

// The file of a folder that load_tokenizer() reads, whether it is there or not; a file itself.
std::filesystem::path tokenizer_file(const std::filesystem::path& path);

// A tokenizer from a file as a tokenizer.json: its own, or one that reads back to the same fingerprint. Not
// for SentencePiece's.
std::string tokenizer_as_json(const Tokenizer& tokenizer);

}  // namespace moe::text
