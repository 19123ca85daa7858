// SPDX-License-Identifier: MIT
// How a model talks, in the files of an exported folder: chat_template.jinja, the tokens that the template
// needs beside the vocabulary, and where an answer ends. transformers, vLLM and llama.cpp's converter read
// these.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "interop/tokenizer_files.h"
#include "text/chat.h"

namespace moe::interop {

// Puts the chat into the files of a folder, which have the tokenizer's, and generation_config.json. What says
// the same already stays as it is, byte for byte. Returns whether anything did not.
bool add_chat(std::vector<TokenizerFile>& files, const text::Chat& chat);

// A tokenizer.json with further special tokens, whose ids begin with `first`, as far as it has not got them;
// all else byte for byte.
std::string with_added_tokens(const std::string& where, std::string_view tokenizer_json, text::TokenId first,
                              const std::vector<std::string>& added);

}  // namespace moe::interop
