// SPDX-License-Identifier: MIT
// What bodies of other files need of fp8.cpp.
#pragma once

#include "base/threads.h"
#include "ops/fp8.h"

namespace moe::cpu {

// All rows by one scale: that of a row whose largest element is `largest`.
void quantise_by(ThreadPool& pool, ScaledRows rows, const Tensor& x, float largest);
// Into memory for as many numbers; bf16 holds a scaled FP8 number exactly.
Tensor widened(ThreadPool& pool, bf16* out, const ScaledRows& in);

}  // namespace moe::cpu
