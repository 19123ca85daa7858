// SPDX-License-Identifier: MIT
// Products of bf16 on a processor that has instructions for them (AVX-512 BF16, AMX), by oneDNN's matmul
// primitives. Those whose sizes are given at run time serve every shape, sixteen of them: orientation of a
// and b, type of c, accumulate. Regular sizes, which are those of tiles, come again and again and have
// primitives of their own: docs/decisions/0001-cpu-matrix-products.md has what each reaches.
#pragma once

#include <memory>

#include "cpu/gemm.h"

namespace moe::cpu {

class Bf16Products {
 public:
  // threads: the most that call multiply() at one time.
  explicit Bf16Products(int threads);
  ~Bf16Products();

  // in: bf16; no size is 0. The result depends on the arguments alone.
  void multiply(const Product& product);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace moe::cpu
