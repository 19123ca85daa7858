// SPDX-License-Identifier: MIT
// generation_config.json of another program's model: where an answer ends, and how tokens are chosen. What it
// does not say, or says of what we do not do (beams), is left out. Untrusted input (fuzz/hf_config_fuzz.cpp).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moe::interop {

struct GenerationSettings {
  std::vector<int64_t> ends;  // eos_token_id: a number or a list of them
  bool sample = false;        // do_sample; else what follows is not meant to be used
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k;
};

// Throws UserError naming `where` and the key.
GenerationSettings read_generation_settings(const std::string& where, std::string_view text);

// The same file with an answer ending at these ids first, then at those it has; as it is where it has them
// all.
std::string with_ends(const std::string& where, const std::string& text, const std::vector<int64_t>& ends);

}  // namespace moe::interop
