// SPDX-License-Identifier: MIT
// Which token comes next: from logits to one id. The order of the filters, and what each means, are those of
// transformers: repetition penalty, temperature, top-k, top-p, min-p.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "text/token_id.h"

namespace moe::generate {

struct SamplingOptions {
  int64_t max_new_tokens = 200;
  double temperature = 0.8;  // 0: always the most likely token
  int64_t top_k = 0;         // only the k most likely; 0: all
  double top_p = 1.0;        // only the most likely that together reach p (nucleus, Holtzman et al. 2020)
  double min_p = 0.0;        // only those at least p times as likely as the most likely one
  double repetition_penalty =
      1.0;  // of tokens that have occurred: logits / p, or * p where negative (Keskar et al. 2019)
  std::vector<std::string> stop{};  // a text ends before the first of these
  bool ignore_end_of_text = false;  // never choose that token
  uint64_t seed = 1;
  void validate() const;  // throws UserError naming the option
};

// Each id of `occurred` once, however often it is in there.
void penalise(std::span<float> logits, std::span<const text::TokenId> occurred, double penalty);

// One token from `logits` over the vocabulary. index: which draw of `random` to use. Ties go to the lower id.
text::TokenId pick_token(std::span<const float> logits, const SamplingOptions& options, const Random& random,
                         uint64_t index);

}  // namespace moe::generate
