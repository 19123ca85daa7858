// SPDX-License-Identifier: MIT
// The types of Hopper's kernels, bf16 and f16: 16 bits each, and the instructions are the same.
#pragma once

#include "gpu/numbers.cuh"

namespace moe::gpu {

constexpr bool is_half_type(DType dtype) {
  return dtype == DType::bf16 || dtype == DType::f16;
}

// Calls body.template operator()<T>() with that type.
template <class Body>
void with_half_type(DType dtype, Body&& body) {
  CHECK(is_half_type(dtype), "neither bf16 nor f16");
  if (dtype == DType::bf16) return body.template operator()<bf16>();
  body.template operator()<f16>();
}

}  // namespace moe::gpu
