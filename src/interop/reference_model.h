// SPDX-License-Identifier: MIT
// A second way from a folder of the Hugging Face format to logits, for `--verify`. It is written from the
// classes of transformers: config.json by its keys, tensors by their names, everything in double, one row of
// a matrix at a time. It shares no code with the model, and nothing with the map of tensors
// (interop/tensor_map.h): what is wrong in these shows as other logits. It is slow, and reads a prompt only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace moe::interop {

// Whether there is a second way for this model_type.
bool has_reference(const std::string& model_type);

// Logits of each of the ids, [ids, vocab_size] row by row. The folder is one that HfWeights::check() lets
// pass. Throws UserError where a tensor is missing.
std::vector<double> reference_logits(const std::filesystem::path& folder, std::span<const int32_t> ids);

}  // namespace moe::interop
