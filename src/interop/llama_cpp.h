// SPDX-License-Identifier: MIT
// What llama.cpp makes of an export, its converter (convert_hf_to_gguf.py) and its program: which models
// they take as they are, and what their user must know. tools/check_gguf.py --for holds both to it;
// docs/interop.md has the figures.
#pragma once

#include <string>

#include "interop/family.h"
#include "model/config.h"
#include "text/chat.h"
#include "text/tokenizer.h"

namespace moe::interop {

// Throws UserError for a model that llama.cpp computes otherwise without a word, and for one that its
// converter or its program refuses: naming the setting, why, and the families in which it takes the model.
void check_llama_cpp(const model::ModelConfig& config, const Family& family,
                     const text::Tokenizer& tokenizer);

// Whether the converter knows the tokenizer, which it tells by the ids of one text: GPT-2's, it does; of
// others only llama.cpp's own list says so.
bool in_llama_cpp(const text::Tokenizer& tokenizer);

// A part of the model card: how the folder is converted and run, and what differs there. chat: how it was
// taught to talk; null: it was not.
std::string llama_cpp_card(const model::ModelConfig& config, const Family& family,
                           const text::Tokenizer& tokenizer, const text::Chat* chat = nullptr);

}  // namespace moe::interop
