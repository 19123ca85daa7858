// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace moe::model {

// What a set of weights, or a pass, is for decides which copies exist.
enum class Mode : uint8_t { training, inference };

// What a micro-batch does to the gradients of weights. The first one of a step overwrites them, so nothing
// zeroes them.
enum class GradientMode : uint8_t { overwrite, accumulate };

}  // namespace moe::model
