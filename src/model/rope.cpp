// SPDX-License-Identifier: MIT
#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace moe::model {
namespace {

// 1 for wavelengths up to L0 / high, 0 from L0 / low on.
double kept_by_llama3(const RopeSpec& rope, double frequency) {
  const double turns = rope.original_len * frequency / (2 * std::numbers::pi);
  return std::clamp((turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor), 0.0,
                    1.0);
}

// The pair, as a real number, that turns so often in L0 tokens.
double pair_that_turns(const RopeSpec& rope, double turns) {
  return static_cast<double>(rope.rotary_dim) * std::log(rope.original_len / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(rope.theta));
}

// 1 up to the pair of beta_fast, 0 from that of beta_slow on. The limit of both is that of the paper's code.
double kept_by_yarn(const RopeSpec& rope, int64_t i) {
  const auto last = static_cast<double>(rope.rotary_dim - 1);
  const double low = std::max(std::floor(pair_that_turns(rope, rope.beta_fast)), 0.0);
  double high = std::min(std::ceil(pair_that_turns(rope, rope.beta_slow)), last);
  if (high == low) high += 0.001;  // as there, against a division by zero
  return 1 - std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
}

}  // namespace

std::vector<double> rope_frequencies(const RopeSpec& rope) {
  std::vector<double> frequencies(static_cast<size_t>(rope.rotary_dim / 2));
  for (int64_t i = 0; i < rope.rotary_dim / 2; ++i) {
    const double frequency =
        std::pow(rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(rope.rotary_dim));
    double kept = 1;
    if (rope.scaling == RopeScaling::linear) kept = 0;
    if (rope.scaling == RopeScaling::llama3) kept = kept_by_llama3(rope, frequency);
    if (rope.scaling == RopeScaling::yarn) kept = kept_by_yarn(rope, i);
    frequencies[static_cast<size_t>(i)] =
        kept == 1 ? frequency : frequency * (kept + (1 - kept) / rope.factor);
  }
  return frequencies;
}

double rope_scale(const RopeSpec& rope) {
  if (rope.scaling != RopeScaling::yarn) return 1;
  return rope.attention_factor > 0 ? rope.attention_factor : 0.1 * std::log(rope.factor) + 1;
}

std::vector<float> rope_table(int64_t rows, const RopeSpec& rope) {
  const int64_t half = rope.head_dim / 2;
  const std::vector<double> frequencies = rope_frequencies(rope);
  const double all = std::sqrt(rope.score_scale), turning = all * rope_scale(rope);
  std::vector<float> table(static_cast<size_t>(rows * rope.head_dim));
  for (int64_t t = 0; t < rows; ++t) {
    float* const cosine = table.data() + t * rope.head_dim;
    float* const sine = cosine + half;
    for (int64_t i = 0; i < half; ++i) {
      const bool turns = i < rope.rotary_dim / 2;
      const double angle = turns ? static_cast<double>(t) * frequencies[static_cast<size_t>(i)] : 0;
      cosine[i] = static_cast<float>((turns ? turning : all) * std::cos(angle));
      sine[i] = static_cast<float>((turns ? turning : all) * std::sin(angle));
    }
  }
  return table;
}

}  // namespace moe::model
