// SPDX-License-Identifier: MIT
// The GPT-2 tokenizer as the files transformers reads: vocab.json and merges.txt, byte for byte those that OpenAI
// published as encoder.json and vocab.bpe, and tokenizer_config.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace moe {

// merges: the text of vocab.bpe.
std::string vocabulary_json(std::string_view merges);
std::string tokenizer_config_json(int64_t max_length);

// Throws UserError when the folder holds a vocabulary (vocab.json, or tokenizer.json) that is not GPT-2's: a model's
// rows mean other tokens then. Tokens added past GPT-2's are refused too. A folder without one passes.
void check_vocabulary(const std::filesystem::path& folder, std::string_view merges);

}  // namespace moe
