// SPDX-License-Identifier: MIT
// A tokenizer as the files that transformers reads. GPT-2's are vocab.json and merges.txt, byte for byte
// those that OpenAI published as encoder.json and vocab.bpe, and tokenizer.json with the same: for some
// families transformers reads that one alone. Another's is tokenizer.json, byte for byte the one it was read
// from, or made of its file of ranks. SentencePiece's is tokenizer.model, byte for byte.
// tokenizer_config.json is beside each.
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
  bool operator==(const TokenizerFile&) const = default;
};
// max_length: of the model's rows.
std::vector<TokenizerFile> tokenizer_files(const text::Tokenizer& tokenizer, int64_t max_length);

// Those of `others` in place of the files of these names, or beside them.
void replace_files(std::vector<TokenizerFile>& files, const std::vector<TokenizerFile>& others);

// What data.tokenizer is for a model of this folder: "gpt2", where what it has of a vocabulary (vocab.json,
// tokenizer.json) and of tokens added to one (added_tokens.json, tokenizer.json) is GPT-2's; else its
// tokenizer.json, or without one its tekken.json or tokenizer.model; "" where it has nothing of the kind.
// Throws UserError for a vocabulary of another tokenizer without any of these, and for files that say too
// little (ranks without a pattern) or have a name that is not looked for (another .model).
std::string tokenizer_in(const std::filesystem::path& folder);

// The other tokenizers' tokenizer_config.json.
std::string fast_tokenizer_config_json(const text::Tokenizer& tokenizer, int64_t max_length);

// GPT-2. merges: the text of vocab.bpe.
std::string vocabulary_json(std::string_view merges);
std::string gpt2_tokenizer_json(std::string_view merges);
std::string tokenizer_config_json(int64_t max_length);
// The check of one such file; untrusted input (fuzz/hf_config_fuzz.cpp).
void check_vocab_json(const std::string& where, std::string_view text, std::string_view merges);
void check_tokenizer_json(const std::string& where, std::string_view text, std::string_view merges);
void check_added_tokens_json(const std::string& where, std::string_view text, std::string_view merges);

}  // namespace moe::interop
