// SPDX-License-Identifier: MIT
// Shapes, types and costs of matrix products.
#include "ops/matmul.h"

#include "ops/cost.h"

namespace moe {
namespace {

struct Sizes {  // of an M x N x K product
  int64_t m, n, k;
  std::string text() const { return std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k); }
  double flops() const { return product_flops(m, n, k); }
};

Sizes sizes_of(const Matmul& op) {
  return {op.c_MN.dim(0), op.c_MN.dim(1), op.layout == MatmulLayout::TN ? op.a.dim(0) : op.a.dim(1)};
}

Sizes sizes_of(const MatmulAdd& op) {
  return {op.c_MN.dim(0), op.c_MN.dim(1), op.a_MK.dim(1)};
}

Sizes sizes_of(const GroupedMatmul& op) {  // the routed rows in place of M
  return {op.a.dim(0), op.layout == MatmulLayout::TN ? op.b.dim(1) : op.c.dim(1), op.a.dim(1)};
}

const char* name_of(MatmulLayout layout) {
  return layout == MatmulLayout::NT ? " NT " : layout == MatmulLayout::NN ? " NN " : " TN ";
}

void check_types(const Tensor& c, const Tensor& a, const Tensor& b) {
  CHECK(is_activation(a.dtype()), a.describe());
  CHECK(b.dtype() == a.dtype(), a.describe() + " and " + b.describe());
  CHECK(c.dtype() == DType::f32 || c.dtype() == a.dtype(), c.describe() + " from " + a.describe());
}

std::string shapes_of(const Tensor& c, const Tensor& a, const Tensor& b) {
  return c.describe() + " = " + a.describe() + " * " + b.describe();
}

}  // namespace

const char* Matmul::phase() const {
  return role == MatmulRole::head ? "head" : "projections";
}

std::string Matmul::label() const {
  return std::string(name) + name_of(layout) + sizes_of(*this).text();
}

void Matmul::check() const {
  const std::string shapes = shapes_of(c_MN, a, b);
  CHECK(c_MN.rank() == 2 && a.rank() == 2 && b.rank() == 2, shapes);
  check_types(c_MN, a, b);
  const auto [m, n, k] = sizes_of(*this);
  CHECK(layout == MatmulLayout::TN ? a.has_shape({k, m}) : a.has_shape({m, k}), shapes);
  CHECK(layout == MatmulLayout::NT ? b.has_shape({n, k}) : b.has_shape({k, n}), shapes);
}

double Matmul::flops() const {
  return sizes_of(*this).flops();
}

double Matmul::bytes() const {
  return bytes_of({c_MN, accumulate ? c_MN : Tensor(), a, b});
}

std::string MatmulAdd::label() const {
  return name + sizes_of(*this).text();
}

void MatmulAdd::check() const {
  Matmul{c_MN, a_MK, b_NK}.check();
  CHECK(addend_MN.dtype() == c_MN.dtype() && addend_MN.has_shape({c_MN.dim(0), c_MN.dim(1)}),
        addend_MN.describe());
}

double MatmulAdd::flops() const {
  return sizes_of(*this).flops();
}

double MatmulAdd::bytes() const {
  return bytes_of({c_MN, addend_MN, a_MK, b_NK});
}

std::string GroupedMatmul::label() const {
  return std::string(name) + name_of(layout) + sizes_of(*this).text();
}

void GroupedMatmul::check() const {
  const std::string shapes = shapes_of(c, a, b);
  check_types(c, a, b);
  CHECK(offset_E1.dtype() == DType::i32 && offset_E1.rank() == 1 && offset_E1.dim(0) >= 2,
        offset_E1.describe());
  const int64_t experts = offset_E1.dim(0) - 1;
  CHECK(a.rank() == 2, shapes);
  const int64_t rows = a.dim(0), width = a.dim(1);
  if (layout == MatmulLayout::TN) {
    CHECK(b.rank() == 2 && b.dim(0) == rows, shapes);
    CHECK(c.has_shape({experts, width, b.dim(1)}), shapes);
  } else {
    CHECK(b.rank() == 3 && b.dim(0) == experts, shapes);
    CHECK(b.dim(layout == MatmulLayout::NT ? 2 : 1) == width, shapes);
    CHECK(c.has_shape({rows, b.dim(layout == MatmulLayout::NT ? 1 : 2)}), shapes);
  }
}

double GroupedMatmul::flops() const {
  return sizes_of(*this).flops();
}

double GroupedMatmul::bytes() const {
  return bytes_of({c, accumulate ? c : Tensor(), a, b});
}

}  // namespace moe
