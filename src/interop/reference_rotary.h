// SPDX-License-Identifier: MIT
// The rotary positions of config.json in double, for interop/reference_model.cpp: Su et al., arXiv
// 2104.09864; yarn: Peng et al., arXiv 2309.00071; llama3 as transformers has it. Not the code that the model
// uses.
#pragma once

#include <cstdint>
#include <vector>

#include "base/json.h"

namespace moe::interop {

struct ReferenceRotary {
  std::vector<double> frequencies;  // of the pairs (i, i + their number) at the beginning of a head
  double factor = 1;                // of cos and sin
};

// json: config.json with the defaults of its class. d: the width of a head.
ReferenceRotary reference_rotary(const JsonFields& json, double default_theta, double default_partial,
                                 int64_t d);
// Turns one head of the token at this position.
void turn(double* head, int64_t position, const ReferenceRotary& rotary);

}  // namespace moe::interop
