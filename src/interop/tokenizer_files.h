// SPDX-License-Identifier: MIT
// The GPT-2 tokenizer as the files transformers reads: vocab.json and merges.txt, byte for byte those that
// OpenAI published as encoder.json and vocab.bpe, and tokenizer_config.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace moe {

// merges: the text of vocab.bpe.
std::string vocabulary_json(std::string_view merges);
std::string tokenizer_config_json(int64_t max_length);

// Throws UserError when the folder holds a vocabulary (vocab.json, tokenizer.json) or tokens added to one
// (added_tokens.json, tokenizer.json) that are not GPT-2's: a model's rows mean other tokens then. A folder
// without any passes.
void check_vocabulary(const std::filesystem::path& folder, std::string_view merges);

// The same for the text of one such file; untrusted input (fuzz/hf_config_fuzz.cpp).
void check_vocab_json(const std::string& where, std::string_view text, std::string_view merges);
void check_tokenizer_json(const std::string& where, std::string_view text, std::string_view merges);
void check_added_tokens_json(const std::string& where, std::string_view text, std::string_view merges);

}  // namespace moe
