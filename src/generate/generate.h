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
#include "generate/token_table.h"
#include "model/decoder.h"
#include "ops/ops.h"
#include "tensor/device.h"

namespace moe::generate {

struct Prompt {
  std::vector<text::TokenId> ids;  // not empty
  uint64_t seed = 1;               // the same seed writes the same text, whatever else is in the batch
  int64_t cached = 0;  // so many ids the decoder has read already, with this text in this place; not all
};

enum class Finish : uint8_t { length, end_of_text, end_of_turn, stop, interrupted };

std::string_view name_of(Finish finish);  // as it is written into files

struct Completion {
  std::vector<text::TokenId> ids;  // made; without the token that ended it
  std::string text;                // cut before a stop
  Finish finish = Finish::length;
  int64_t cached = 0;  // of the prompt's ids and these: how many the decoder has read
};

// What it took; seconds include the choice of tokens. The first token of each text counts as prefill.
struct GenerateTimes {
  int64_t prompt_tokens = 0, decoded_tokens = 0;
  double prefill_seconds = 0, decode_seconds = 0;
};

// Text of prompt i as it comes, in whole characters. Bytes that may be the beginning of a stop, or of a
// character, are held back until they are not.
using OnText = std::function<void(size_t prompt, std::string_view text)>;
// Asked before each token, and between pieces of the prompts: true ends all texts where they are.
using Interrupted = std::function<bool()>;

// Continues at most decoder.batch() prompts; options.seed is not used. A text ends at one of the table's
// ends, at a stop, after max_new_tokens, or when the decoder is full. Throws UserError when a prompt does not
// fit.
std::vector<Completion> generate(model::Decoder& decoder, std::span<const Prompt> prompts,
                                 const TokenTable& table, const SamplingOptions& options, Device& device,
                                 Ops& ops, GenerateTimes& times, const OnText& on_text = {},
                                 const Interrupted& interrupted = {});

}  // namespace moe::generate
