// SPDX-License-Identifier: MIT
// The three sentences that all checks of ops are made of. A wrong shape or type is our own bug: InternalError
// with the op, the argument, what it should be and what it is.
#pragma once

#include <initializer_list>
#include <string>

#include "tensor/tensor.h"

namespace moe {

// x, called `name` ("rms_norm_forward: y"), has exactly this type and shape.
inline void expect(const Tensor& x, const char* name, DType dtype, std::initializer_list<int64_t> shape) {
  if (x.dtype() == dtype && x.has_shape(shape)) [[likely]]
    return;
  CHECK(!x.empty(), std::string(name) + " is missing");
  const Tensor wanted(nullptr, dtype, shape);
  CHECK(false, std::string(name) + " must be " + wanted.describe() + ", is " + x.describe());
}

// x has this type and as many elements, in any shape.
inline void expect_numel(const Tensor& x, const char* name, DType dtype, int64_t numel) {
  if (x.dtype() == dtype && x.numel() == numel && !x.empty()) [[likely]]
    return;
  CHECK(!x.empty(), std::string(name) + " is missing");
  const Tensor wanted(nullptr, dtype, {numel});
  CHECK(false, std::string(name) + " must hold " + wanted.describe() + ", is " + x.describe());
}

// x is a tensor of activations of this rank. Returns its type, which the others of the op share.
inline DType expect_activation(const Tensor& x, const char* name, int rank) {
  const bool good = x.rank() == rank && is_activation(x.dtype());
  CHECK(good, std::string(name) + " must be f32, bf16 or f16 of rank " + std::to_string(rank) + ", is " +
                  (x.empty() ? std::string("missing") : x.describe()));
  return x.dtype();
}

}  // namespace moe
