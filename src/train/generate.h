// SPDX-License-Identifier: MIT
// Text from a model: which token comes next, and the loop that asks for it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/random.h"
#include "model/decoder.h"
#include "ops/ops.h"
#include "tensor/device.h"

namespace moe {

struct SamplingOptions {
  int64_t max_new_tokens = 200;
  double temperature = 0.8;  // 0: always the most likely token
  int64_t top_k = 0;         // only the k most likely; 0: all
  double top_p = 1.0;        // only the most likely that together reach p (nucleus, Holtzman et al. 2020)
  uint64_t seed = 1;
  void validate() const;  // throws UserError naming the option
};

// One token from `logits` over the vocabulary. index: which draw of `random` to use. Ties go to the lower id.
int32_t pick_token(std::span<const float> logits, const SamplingOptions& options, const Random& random,
                   uint64_t index);

// Continues `prompt` (not empty) and calls `on_token` for each new token; stops at `end_of_text`, which is
// not passed on, or after max_new_tokens, or when the decoder is full. Returns how many tokens it made.
int64_t generate(Decoder& decoder, std::span<const int32_t> prompt, int32_t end_of_text, int64_t vocabulary,
                 const SamplingOptions& options, Device& device, Ops& ops,
                 const std::function<void(int32_t)>& on_token);

}  // namespace moe
