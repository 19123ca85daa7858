// SPDX-License-Identifier: MIT
// Elementwise operations. Letters, types and what holds for every op: ops/ops.h.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace moe {

// x = value, converted to x's type, which may be any.
struct Fill {
  static constexpr const char* name = "fill";
  static constexpr const char* phase = "other";
  Tensor x;
  float value;

  void check() const;
  double bytes() const;
};

// x[i] = std * Random(seed, stream).normal(first + i), the host's bits on every device; x is flat, f32 or
// rounded to bf16. Waits for the device: for the start of a run.
struct FillNormal {
  static constexpr const char* name = "fill_normal";
  static constexpr const char* phase = "other";
  Tensor x;
  float std;
  uint64_t seed, stream, first = 0;

  void check() const;
  double bytes() const;
};

// y = x, of equal types and numbers of elements.
struct Copy {
  static constexpr const char* name = "copy";
  static constexpr const char* phase = "other";
  Tensor y;
  const Tensor x;

  void check() const;
  double bytes() const;
};

// y = x, from f32 to bf16 or f16 or back; equal numbers of elements.
struct Cast {
  static constexpr const char* name = "cast";
  static constexpr const char* phase = "other";
  Tensor y;
  const Tensor x;

  void check() const;
  double bytes() const;
};

// y += scale * x, both f32, or both i32 with scale 1; equal numbers of elements.
struct Add {
  static constexpr const char* name = "add";
  static constexpr const char* phase = "other";
  Tensor y;
  const Tensor x;
  float scale = 1;

  void check() const;
  double bytes() const;
};

// y += share * (x - y), both f32, with equal numbers of elements.
struct Average {
  static constexpr const char* name = "average";
  static constexpr const char* phase = "optimizer";
  Tensor y;
  const Tensor x;
  float share;

  void check() const;
  double bytes() const;
};

// y = 1 / (1 + exp(-x)), both f32; y may be x.
struct Sigmoid {
  static constexpr const char* name = "sigmoid";
  static constexpr const char* phase = "other";
  Tensor y;
  const Tensor x;

  void check() const;
  double bytes() const;
};

// d = d * y (1 - y), both f32, of y = sigmoid(x). d: in, d(loss)/dy; out, d(loss)/dx.
struct SigmoidBackward {
  static constexpr const char* name = "sigmoid_backward";
  static constexpr const char* phase = "other";
  Tensor d;
  const Tensor y;

  void check() const;
  double bytes() const;
};

}  // namespace moe
