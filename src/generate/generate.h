// SPDX-License-Identifier: MIT
// Texts from a model: many at a time, each with its own prompt, length and random draws.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "generate/sampling.h"
#include "model/decoder.h"
#include "ops/ops.h"
#include "tensor/device.h"
#include "text/tokenizer.h"

namespace moe::generate {

struct Prompt {
  std::vector<text::TokenId> ids;  // not empty
  uint64_t seed = 1;               // the same seed writes the same text, whatever else is in the batch
};

enum class Finish : uint8_t { length, end_of_text, stop };

struct Completion {
  std::vector<text::TokenId> ids;  // made; without the end of text
  std::string text;                // cut before a stop
  Finish finish = Finish::length;
};

// What it took; seconds include the choice of tokens. The first token of each text counts as prefill.
struct GenerateTimes {
  int64_t prompt_tokens = 0, decoded_tokens = 0;
  double prefill_seconds = 0, decode_seconds = 0;
};

// Text of prompt i as it comes. Bytes that may be the beginning of a stop are held back until they are not.
using OnText = std::function<void(size_t prompt, std::string_view text)>;

// Continues at most decoder.batch() prompts; options.seed is not used. A text ends at `end_of_text`, at a
// stop, after max_new_tokens, or when the decoder is full. Throws UserError when a prompt does not fit.
std::vector<Completion> generate(model::Decoder& decoder, std::span<const Prompt> prompts,
                                 const text::Tokenizer& tokenizer, const SamplingOptions& options,
                                 Device& device, Ops& ops, GenerateTimes& times, const OnText& on_text = {});

}  // namespace moe::generate
