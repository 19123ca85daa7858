// SPDX-License-Identifier: MIT
// config.json and generation_config.json of the Hugging Face format: written, and read back with every
// setting that our model cannot express refused by name. What families differ in is in family.h. The files
// are untrusted input (fuzz/hf_config_fuzz.cpp).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "interop/family.h"
#include "model/config.h"
#include "tensor/dtype.h"

namespace moe::interop {

// "float32", "bfloat16" or "float16".
std::string hf_name_of(DType type);

// Throws UserError for a model that the family cannot describe, naming the setting, and the families that
// can.
void check_exportable(const model::ModelConfig& config, const Family& family = own_family());
bool fits(const model::ModelConfig& config, const Family& family);
// The first family that describes it; null where none does.
const Family* fitting_family(const model::ModelConfig& config);

// type: of the matrices in the files, f32, bf16 or f16. end_of_text: the token that begins and ends
// documents. zero_blocks: with those of zero_blocks_of() (tensor_map.h) behind the model's layers.
std::string hf_config_json(const model::ModelConfig& config, DType type, int64_t end_of_text,
                           const Family& family = own_family(), bool zero_blocks = false);
// vocabulary: ids that exist; those past it are never to be generated.
std::string hf_generation_json(const model::ModelConfig& config, int64_t vocabulary, int64_t end_of_text);

struct HfModel {
  const Family* family;
  model::ModelConfig config;
};
// The model that a config.json describes; what the format does not hold (capacity, loss weights) is dropless
// and as by default. Throws UserError naming `where` and the key.
HfModel read_hf_model(const std::string& where, std::string_view text);
// Whether it has a layer for the blocks of zeros, which the model is without.
bool has_zero_blocks(const std::string& where, std::string_view text);
// Its settings alone.
model::ModelConfig read_hf_config(const std::string& where, std::string_view text);

}  // namespace moe::interop
