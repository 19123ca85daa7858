// SPDX-License-Identifier: MIT
// Single matrix products on the calling thread, by oneDNN: the only place that knows the library. Spreading a
// product over threads is the business of matmul.cpp and grouped_matmul.cpp.
// What was measured, and why this library: docs/decisions/0001-cpu-matrix-products.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tensor/dtype.h"

namespace moe::cpu {

// c[m,n] = op(a)[m,k] op(b)[k,n], or c += when `accumulate`. Matrices are row-major; a stride is the distance
// in elements between rows in memory. A transposed `a` is stored [k,m], a transposed `b` is stored [n,k]. in:
// f32, bf16 or f16, of both a and b.  out: f32, or the inputs' type. Sums are in f32, rounded once.
struct Product {
  int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  int64_t a_stride = 0, b_stride = 0, c_stride = 0;
  bool a_transposed = false, b_transposed = false, accumulate = false;
  DType in = DType::f32, out = DType::f32;
};

// Of this processor, as far as oneDNN uses them.
struct Instructions {
  std::string name;    // "AVX-512 BF16"
  bool bf16_products;  // that multiply bf16 and add in f32; without them bf16 is converted and gains no time
};
Instructions instructions();

class Gemm {
 public:
  // threads: the most that call multiply() at one time.
  // Throws UserError when this build of oneDNN runs threads of its own that we cannot turn off.
  explicit Gemm(int threads);
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  // k = 0 gives zero (or leaves c when accumulating). The result depends on the arguments alone.
  void multiply(const Product& product);

  // Library, version and instructions, and whether products of this type are computed in f32: "oneDNN 2.6.3,
  // AVX-512, products in f32".
  std::string describe(DType type) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace moe::cpu
