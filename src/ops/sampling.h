// SPDX-License-Identifier: MIT
// The choice of a token by chance: the formulas, the op, and its body for one row, which is the
// specification. Sums are of whole numbers, so every device has the same ones in whatever order it adds.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/tensor.h"

namespace moe {

// Which tokens may be drawn; the order of the filters, and what each means, are those of transformers.
struct SamplingRule {
  double temperature = 1;  // above 0
  int64_t top_k = 0;       // only the k most likely; 0: all
  double top_p = 1;        // only the most likely that together reach p (nucleus, Holtzman et al. 2020)
  double min_p = 0;        // only those at least p times as likely as the most likely one

  // Whether tokens are drawn in the order of their logits, the largest first and the lower id first among
  // equals; else in the order of their ids.
  constexpr bool sorts() const { return top_k > 0 || top_p < 1; }
  // 1 / temperature, finite: the largest logit's distance of 0 stays 0.
  constexpr double sharpness() const { return temperature > 1e-300 ? 1 / temperature : 1e300; }
};

// A token's weight: exp((logit - largest logit) * sharpness) in units of 2^-44. What is below half a unit is
// never drawn. Of up to kMostTokens the sum is below 2^63.
inline constexpr int64_t kMostTokens = int64_t{1} << 19;
constexpr uint64_t weight_units(double likelihood) {
  const double units = likelihood * 0x1p44;
  const auto whole = static_cast<uint64_t>(units);
  return whole + (units - static_cast<double>(whole) >= 0.5 ? 1 : 0);
}

// The sum that a nucleus reaches; above 0.
constexpr uint64_t nucleus_goal(uint64_t total, double top_p) {
  const double share = top_p * static_cast<double>(total);
  const auto whole = static_cast<uint64_t>(share);
  const uint64_t goal = static_cast<double>(whole) < share ? whole + 1 : whole;
  return goal < 1 ? 1 : goal < total ? goal : total;
}

// The drawn token is the first whose weight and all before it reach this, which is in [1, total]. draw: a
// whole number below 2^24, of so many equally likely ones.
inline constexpr int kDrawBits = 24;
constexpr uint64_t draw_goal(uint64_t total, uint32_t draw) {
  constexpr uint64_t low = (uint64_t{1} << kDrawBits) - 1;
  return (total >> kDrawBits) * draw + (((total & low) * draw) >> kDrawBits) + 1;
}

// id[n] = a token < columns, drawn from the logits x[n] with draw[n]. `except`: one that is never drawn; -1:
// none. -1 where a logit is no number, or none is finite. x of type A, draw_N and id_N i32.
struct Sample {
  static constexpr const char* name = "sample";
  static constexpr const char* phase = "head";
  static constexpr int32_t kNone = -1;
  Tensor id_N;
  const Tensor x_NV, draw_N;
  int64_t columns, except;
  SamplingRule rule;

  void check() const;
  double bytes() const;
};

// The op for one row, nothing left out.
int32_t sample_row(std::span<const float> logits, const SamplingRule& rule, uint32_t draw);

}  // namespace moe
