// SPDX-License-Identifier: MIT
#include "ops/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "ops/cost.h"
#include "ops/expect.h"

namespace moe {
namespace {

// Tokens that may be drawn, in the order in which they are drawn.
class Candidates {
 public:
  Candidates(std::span<const float> logits, std::vector<uint64_t> weight)
      : logits_(logits), weight_(std::move(weight)), id_(logits.size()) {
    std::iota(id_.begin(), id_.end(), 0);
  }

  void keep_most_likely(int64_t count) {
    const int64_t kept = std::min(count, std::ssize(id_));
    std::partial_sort(id_.begin(), id_.begin() + kept, id_.end(), [&](int32_t a, int32_t b) {
      const float x = logits_[static_cast<size_t>(a)], y = logits_[static_cast<size_t>(b)];
      return x != y ? x > y : a < b;
    });
    id_.resize(static_cast<size_t>(kept));
  }

  // The shortest row of the most likely that reaches the goal.
  void keep_nucleus(double top_p) {
    const uint64_t all = total(), goal = nucleus_goal(all, top_p);
    // All that are rarer than this are less than what the nucleus leaves: none is in it, and none need be
    // sorted.
    keep_above((all - goal) / id_.size());
    keep_most_likely(std::ssize(id_));
    id_.resize(reaching(goal) + 1);
  }

  void keep_above(uint64_t least) {
    std::erase_if(id_, [&](int32_t id) { return weight_of(id) < least; });
  }

  uint64_t total() const {
    uint64_t sum = 0;
    for (const int32_t id : id_) sum += weight_of(id);
    return sum;
  }

  int32_t drawn(uint32_t draw) const { return id_[reaching(draw_goal(total(), draw))]; }

 private:
  uint64_t weight_of(int32_t id) const { return weight_[static_cast<size_t>(id)]; }
  // The place where the sum reaches the goal.
  size_t reaching(uint64_t goal) const {
    size_t at = 0;
    for (uint64_t sum = weight_of(id_[0]); sum < goal; sum += weight_of(id_[at])) ++at;
    return at;
  }

  std::span<const float> logits_;
  std::vector<uint64_t> weight_;
  std::vector<int32_t> id_;
};

}  // namespace

void Sample::check() const {
  expect_activation(x_NV, "sample: x", 2);
  expect(id_N, "sample: id", DType::i32, {x_NV.dim(0)});
  expect(draw_N, "sample: draw", DType::i32, {x_NV.dim(0)});
  CHECK(columns >= 1 && columns <= x_NV.dim(1) && columns <= kMostTokens,
        "sample: columns of " + x_NV.describe());
  CHECK(rule.temperature > 0 && rule.top_k >= 0 && rule.top_p > 0, "sample: a rule that leaves no token");
}

double Sample::bytes() const {
  return bytes_of({id_N, x_NV, draw_N});
}

int32_t sample_row(std::span<const float> logits, const SamplingRule& rule, uint32_t draw) {
  double top = -std::numeric_limits<double>::infinity();
  for (const float logit : logits) top = std::max(top, static_cast<double>(logit));
  const double sharpness = rule.sharpness();
  std::vector<uint64_t> weight(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    const double likelihood = std::exp((static_cast<double>(logits[i]) - top) * sharpness);
    if (std::isnan(likelihood)) return Sample::kNone;
    weight[i] = weight_units(likelihood);
  }
  Candidates candidates(logits, std::move(weight));
  if (rule.top_k > 0) candidates.keep_most_likely(rule.top_k);
  if (rule.top_p < 1) candidates.keep_nucleus(rule.top_p);
  candidates.keep_above(weight_units(rule.min_p));  // the most likely one has weight 1
  return candidates.drawn(draw);
}

}  // namespace moe
