// SPDX-License-Identifier: MIT
// The CPU implementation of the contract in ops/ops.h: one file per family of operations (matmul.cpp,
// attention.cpp, router.cpp, ...), plain loops over rows on a thread pool; only matrix products use a library
// (gemm.h). Formulas, shapes and bounds are in ops/ and are not repeated here.
#pragma once

#include "base/threads.h"
#include "cpu/gemm.h"
#include "cpu/scratch.h"
#include "ops/ops.h"

namespace moe::cpu {

class CpuOps : public Ops {
 public:
  // The pool must outlive the object. One thread at a time calls the methods; each returns when it is done.
  explicit CpuOps(ThreadPool& pool) : pool_(pool), scratch_(pool.size()), gemm_(pool.size()) {}

  // "oneDNN 2.6.3, AVX-512 BF16": for the start of a run with activations of this type.
  std::string describe(DType type) const { return gemm_.describe(type); }

#define MOE_OP(method, Arguments) void method(Arguments op) override;
  MOE_OPS(MOE_OP)
#undef MOE_OP

 private:
  ThreadPool& pool_;
  Scratch scratch_;
  Gemm gemm_;
};

}  // namespace moe::cpu
