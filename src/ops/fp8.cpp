// SPDX-License-Identifier: MIT
// Shapes, types and costs of FP8 operands and their products.
#include "ops/fp8.h"

#include "ops/cost.h"
#include "ops/expect.h"

namespace moe {

void QuantiseRows::check() const {
  q.check(name);
  CHECK(is_activation(x.dtype()) && x.rank() == q.value.rank() && x.numel() == q.value.numel() &&
            x.dim(0) == q.value.dim(0) && x.dim(1) == q.value.dim(1),
        q.value.describe() + " of " + x.describe());
}

double QuantiseRows::bytes() const {
  return bytes_of({q.value, q.scale, x});
}

void QuantiseColumns::check() const {
  q.check(name);
  const int rank = x.rank();
  CHECK(is_activation(x.dtype()) && rank == q.value.rank() && x.numel() == q.value.numel() &&
            x.dim(rank - 2) == q.value.dim(rank - 1) && x.dim(rank - 1) == q.value.dim(rank - 2),
        q.value.describe() + " of " + x.describe());
}

double QuantiseColumns::bytes() const {
  return bytes_of({q.value, q.scale, x});
}

const char* Fp8Matmul::phase() const {
  return role == MatmulRole::head ? "head" : "projections";
}

std::string Fp8Matmul::label() const {
  return std::string(name) + " " + std::to_string(c_MN.dim(0)) + "x" + std::to_string(c_MN.dim(1)) + "x" +
         std::to_string(a_MK.value.dim(1));
}

void Fp8Matmul::check() const {
  a_MK.check("fp8_matmul: a");
  b_NK.check("fp8_matmul: b");
  CHECK(c_MN.rank() == 2 && (c_MN.dtype() == DType::bf16 || c_MN.dtype() == DType::f32), c_MN.describe());
  const int64_t m = c_MN.dim(0), n = c_MN.dim(1), k = a_MK.value.dim(1);
  CHECK(a_MK.value.has_shape({m, k}) && b_NK.value.has_shape({n, k}),
        c_MN.describe() + " = " + a_MK.value.describe() + " * " + b_NK.value.describe());
  CHECK(b_NK.value.dtype() == DType::e4m3, b_NK.value.describe());
  if (!addend_MN.empty()) expect(addend_MN, "fp8_matmul: addend", c_MN.dtype(), {m, n});
}

double Fp8Matmul::flops() const {
  return product_flops(c_MN.dim(0), c_MN.dim(1), a_MK.value.dim(1));
}

double Fp8Matmul::bytes() const {
  return bytes_of({c_MN, addend_MN, a_MK.value, a_MK.scale, b_NK.value, b_NK.scale});
}

}  // namespace moe
