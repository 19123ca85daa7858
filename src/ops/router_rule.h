// SPDX-License-Identifier: MIT
// How a router's logits become the weights of the chosen experts.
#pragma once

#include <cstdint>

#include "base/choices.h"

namespace moe {

// What an expert is worth to a token: its softmax over all experts, or the sigmoid of its logit alone
// (DeepSeek-V3, arXiv 2412.19437, section 2.1.2).
enum class RouterScore : uint8_t { softmax, sigmoid };
constexpr auto choices_of(RouterScore) {
  return choices<RouterScore>({{RouterScore::softmax, "softmax"}, {RouterScore::sigmoid, "sigmoid"}});
}

struct RouterRule {
  RouterScore score = RouterScore::softmax;
  bool renormalise = true;  // the scores of the chosen experts are divided by their sum
  float scale = 1;          // the weights are so many times that; above 0

  // Added to sums of sigmoids before something is divided by them: all may be 0.
  static constexpr float kLeastSum = 1e-20F;
};

}  // namespace moe
