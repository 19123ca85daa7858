// SPDX-License-Identifier: MIT
#include "ops/elementwise.h"

#include <string>

#include "ops/cost.h"

namespace moe {

void Fill::check() const {
  CHECK(!x.empty(), "fill: x is missing");
}

double Fill::bytes() const {
  return bytes_of({x});
}

void FillNormal::check() const {
  CHECK(!x.empty() && x.rank() == 1, "fill_normal: a flat x");
  CHECK(x.dtype() == DType::f32 || x.dtype() == DType::bf16, "fill_normal: " + x.describe());
}

double FillNormal::bytes() const {
  return bytes_of({x});
}

void Copy::check() const {
  CHECK(!x.empty() && !y.empty(), "copy: a tensor is missing");
  CHECK(y.dtype() == x.dtype() && y.numel() == x.numel(), "copy: " + y.describe() + " = " + x.describe());
}

double Copy::bytes() const {
  return bytes_of({y, x});
}

void Cast::check() const {
  const auto is_float = [](const Tensor& t) { return !t.empty() && is_activation(t.dtype()); };
  CHECK(is_float(x) && is_float(y), "cast: both must be f32, bf16 or f16");
  CHECK(x.dtype() == DType::f32 || y.dtype() == DType::f32 || x.dtype() == y.dtype(),
        "cast: not between two types of 16 bits");
  CHECK(y.numel() == x.numel(), "cast: " + y.describe() + " = " + x.describe());
}

double Cast::bytes() const {
  return bytes_of({y, x});
}

void Add::check() const {
  CHECK(!x.empty() && !y.empty(), "add: a tensor is missing");
  CHECK(y.dtype() == x.dtype() && y.numel() == x.numel(), "add: " + y.describe() + " += " + x.describe());
  CHECK(y.dtype() == DType::f32 || y.dtype() == DType::i32, "add: " + y.describe());
  CHECK(y.dtype() == DType::f32 || scale == 1, "add: i32 without a scale");
}

double Add::bytes() const {
  return bytes_of({y, x});
}

void Average::check() const {
  CHECK(!x.empty() && !y.empty(), "average: a tensor is missing");
  CHECK(y.dtype() == DType::f32 && x.dtype() == DType::f32 && y.numel() == x.numel(),
        "average: " + y.describe() + " of " + x.describe());
}

double Average::bytes() const {
  return bytes_of({y, y, x});
}

void Sigmoid::check() const {
  CHECK(!x.empty() && !y.empty(), "sigmoid: a tensor is missing");
  CHECK(y.dtype() == DType::f32 && x.dtype() == DType::f32 && y.numel() == x.numel(),
        "sigmoid: " + y.describe() + " of " + x.describe());
}

double Sigmoid::bytes() const {
  return bytes_of({y, x});
}

void SigmoidBackward::check() const {
  CHECK(!d.empty() && !y.empty(), "sigmoid_backward: a tensor is missing");
  CHECK(d.dtype() == DType::f32 && y.dtype() == DType::f32 && d.numel() == y.numel(),
        "sigmoid_backward: " + d.describe() + " at " + y.describe());
}

double SigmoidBackward::bytes() const {
  return bytes_of({d, d, y});
}

}  // namespace moe
