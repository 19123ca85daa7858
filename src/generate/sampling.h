// SPDX-License-Identifier: MIT
// Which token comes next: from logits to one id. The order of the filters, and what each means, are those of
// transformers: repetition penalty, then those of ops/sampling.h, which has the formulas.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "ops/sampling.h"
#include "text/token_id.h"

namespace moe::generate {

struct SamplingOptions {
  int64_t max_new_tokens = 200;
  double temperature = 0.8;  // 0: always the most likely token
  int64_t top_k = 0;         // these three as SamplingRule has them
  double top_p = 1.0;
  double min_p = 0.0;
  double repetition_penalty =
      1.0;  // of tokens that have occurred: logits / p, or * p where negative (Keskar et al. 2019)
  std::vector<std::string> stop{};  // a text ends before the first of these
  bool ignore_end_of_text = false;  // never choose that token
  uint64_t seed = 1;
  void validate() const;  // throws UserError naming the option
  // Of a temperature above 0.
  SamplingRule rule() const {
    return {.temperature = temperature, .top_k = top_k, .top_p = top_p, .min_p = min_p};
  }
};

// Each id of `occurred` once, however often it is in there.
void penalise(std::span<float> logits, std::span<const text::TokenId> occurred, double penalty);

// Number `index` of the draws: the bits that Random::uniform has.
inline uint32_t draw_of(const Random& random, uint64_t index) {
  return static_cast<uint32_t>(random.bits(index)) >> (32 - kDrawBits);
}

// One token from `logits` over the vocabulary. Ties go to the lower id. Sample::kNone as Sample has it.
text::TokenId pick_token(std::span<const float> logits, const SamplingOptions& options, uint32_t draw);

}  // namespace moe::generate
