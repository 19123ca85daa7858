// SPDX-License-Identifier: MIT
#include "generate/sampling.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace moe::generate {

void SamplingOptions::validate() const {
  const auto refuse = [](const std::string& option, const std::string& expected, double found) {
    throw UserError("--" + option, expected, std::to_string(found));
  };
  if (!(temperature >= 0 && std::isfinite(temperature)))
    refuse("temperature", "a number of at least 0", temperature);
  if (!(top_p > 0 && top_p <= 1)) refuse("top-p", "a number above 0 and at most 1", top_p);
  if (!(min_p >= 0 && min_p <= 1)) refuse("min-p", "a number of at least 0 and at most 1", min_p);
  // Logits are f32: beyond this a product or quotient of one is infinite, and the difference of two of these
  // is no number.
  if (!(repetition_penalty >= 1e-6 && repetition_penalty <= 1e6))
    refuse("repetition-penalty", "a number between 0.000001 and 1000000", repetition_penalty);
  if (top_k < 0) refuse("top-k", "at least 0", static_cast<double>(top_k));
  if (max_new_tokens < 1) refuse("max-new-tokens", "at least 1", static_cast<double>(max_new_tokens));
  for (const std::string& text : stop)
    if (text.empty()) throw UserError("--stop", "a text", "an empty one");
}

void penalise(std::span<float> logits, std::span<const text::TokenId> occurred, double penalty) {
  if (penalty == 1) return;
  std::vector<text::TokenId> ids(occurred.begin(), occurred.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  const auto factor = static_cast<float>(penalty);
  for (const text::TokenId id : ids) {
    if (id < 0 || static_cast<size_t>(id) >= logits.size()) continue;
    float& logit = logits[static_cast<size_t>(id)];
    logit = logit > 0 ? logit / factor : logit * factor;
  }
}

text::TokenId pick_token(std::span<const float> logits, const SamplingOptions& options, uint32_t draw) {
  if (options.temperature > 0) return sample_row(logits, options.rule(), draw);
  return static_cast<text::TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace moe::generate
