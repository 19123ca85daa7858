// SPDX-License-Identifier: MIT
// A tokenizer as the files that transformers reads. GPT-2's are vocab.json and merges.txt, byte for byte
// those that OpenAI published as encoder.json and vocab.bpe, and tokenizer_config.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace moe::interop {

struct TokenizerFile {
  std::string name, text;
};
// max_length: of the model's rows.
std::vector<TokenizerFile> tokenizer_files(text::TokenizerKind kind, int64_t max_length);

// Throws UserError when the folder holds a vocabulary (vocab.json, tokenizer.json) or tokens added to one
// (added_tokens.json, tokenizer.json) that are not the tokenizer's: a model's rows mean other tokens then. A
// folder without any passes.
void check_vocabulary(const std::filesystem::path& folder, text::TokenizerKind kind);

// GPT-2. merges: the text of vocab.bpe.
std::string vocabulary_json(std::string_view merges);
std::string tokenizer_config_json(int64_t max_length);
// The check of one such file; untrusted input (fuzz/hf_config_fuzz.cpp).
void check_vocab_json(const std::string& where, std::string_view text, std::string_view merges);
void check_tokenizer_json(const std::string& where, std::string_view text, std::string_view merges);
void check_added_tokens_json(const std::string& where, std::string_view text, std::string_view merges);

}  // namespace moe::interop
