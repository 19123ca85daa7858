// SPDX-License-Identifier: MIT
#include "generate/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace moe::generate {
namespace {

// Ids that may be chosen, the most likely first where a filter asks for that; weight = exp((logit - top) /
// T).
struct Candidates {
  std::vector<text::TokenId> id;
  std::vector<double> weight;
  double total() const { return std::accumulate(weight.begin(), weight.end(), 0.0); }
};

// The `count` most likely ids in order, the lower id first among equals.
void keep_most_likely(Candidates& candidates, size_t count) {
  std::vector<int32_t> order(candidates.id.size());
  std::iota(order.begin(), order.end(), 0);
  const auto more_likely = [&](int32_t a, int32_t b) {
    const double x = candidates.weight[static_cast<size_t>(a)], y = candidates.weight[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;  // ids ascend
  };
  count = std::min(count, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    more_likely);
  Candidates kept;
  for (size_t i = 0; i < count; ++i) {
    kept.id.push_back(candidates.id[static_cast<size_t>(order[i])]);
    kept.weight.push_back(candidates.weight[static_cast<size_t>(order[i])]);
  }
  candidates = std::move(kept);
}

void keep_above(Candidates& candidates, double least) {
  size_t kept = 0;
  for (size_t i = 0; i < candidates.id.size(); ++i) {
    if (candidates.weight[i] < least) continue;
    candidates.id[kept] = candidates.id[i];
    candidates.weight[kept++] = candidates.weight[i];
  }
  candidates.id.resize(kept);
  candidates.weight.resize(kept);
}

// The shortest row of the most likely that reaches top_p of the whole.
void keep_nucleus(Candidates& candidates, double top_p) {
  const double total = candidates.total();
  // All that are rarer than this have less than 1 - top_p together: none is in the nucleus, and none need be
  // sorted.
  keep_above(candidates, (1 - top_p) * total / static_cast<double>(candidates.id.size()));
  keep_most_likely(candidates, candidates.id.size());
  double sum = 0;
  size_t kept = 0;
  while (kept < candidates.id.size() && sum < top_p * total) sum += candidates.weight[kept++];
  candidates.id.resize(kept);
  candidates.weight.resize(kept);
}

}  // namespace

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

text::TokenId pick_token(std::span<const float> logits, const SamplingOptions& options, const Random& random,
                         uint64_t index) {
  const auto best = std::max_element(logits.begin(), logits.end());
  if (options.temperature == 0) return static_cast<text::TokenId>(best - logits.begin());

  Candidates candidates;
  candidates.id.resize(logits.size());
  std::iota(candidates.id.begin(), candidates.id.end(), 0);
  candidates.weight.resize(logits.size());
  const double top = *best;
  std::transform(logits.begin(), logits.end(), candidates.weight.begin(),
                 [&](float logit) { return std::exp((logit - top) / options.temperature); });
  if (options.top_k > 0) keep_most_likely(candidates, static_cast<size_t>(options.top_k));
  if (options.top_p < 1) keep_nucleus(candidates, options.top_p);
  if (options.min_p > 0) keep_above(candidates, options.min_p);  // the most likely one has weight 1

  const double draw = static_cast<double>(random.uniform(index)) * candidates.total();
  double sum = 0;
  for (size_t i = 0; i < candidates.id.size(); ++i)
    if ((sum += candidates.weight[i]) > draw) return candidates.id[i];
  return candidates.id.back();
}

}  // namespace moe::generate
