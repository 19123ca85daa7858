// SPDX-License-Identifier: MIT
// Dense matrix products through cuBLASLt. The algorithm for a shape is chosen once, by timing the library's
// candidates, and kept (gemm_algorithm_cache.h).
#pragma once

#include <cublasLt.h>

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "gpu/gemm_algorithm_cache.h"
#include "gpu/gpu_device.h"
#include "ops/ops.h"

namespace moe::gpu {

class Gemm {
 public:
  // tf32: products of f32 round their operands (ops/arithmetic.h).
  Gemm(GpuDevice& device, bool tf32);
  Gemm(GpuDevice& device, bool tf32, GemmAlgorithmCache choices);  // with these, not those of the GPU's kind
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  // Any thread, before an object is made: the library's file is large. What is wrong with it the object says.
  static void open_library();

  std::string describe() const;  // "cuBLASLt 13.1.0 with 40 shipped algorithms"
  // For the person: which algorithms had to be chosen since the last call, and how long that took.
  std::vector<std::string> take_notes();

  // c = product * op(a) op(b), plus addend times the tensor of that name unless it is empty; it may be c.
  struct Factors {
    float product = 1, addend = 1;
  };
  // Shapes as of Ops::matmul. With one more dimension in front: as many products, of one matrix each. Their
  // bits depend on the shape of one alone: not on how many they are, and not on what was fastest here, which
  // may differ from one rank to another.
  void multiply(Tensor c, const Tensor& a, const Tensor& b, MatmulLayout layout, const Tensor& addend,
                const Factors& factors = {1, 1});
  // c = a b^T of scaled rows, plus the addend unless it is empty; it may be c. fast: as of Fp8Matmul.
  void multiply(Tensor c, const ScaledRows& a, const ScaledRows& b, const Tensor& addend, bool fast);

 private:
  struct Key {
    bool stacked;
    int64_t m, n, k;
    MatmulLayout layout;
    DType input, output;
    bool adds, tf32, fast;
    unsigned alignment;  // bytes, of all addresses and rows
    // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy takes the 0 in it for one
    auto operator<=>(const Key&) const = default;
    std::string describe() const;  // "NT bf16 bf16 32768x3072x1024 256", "+=" with an addend
    bool may_have_parts(int64_t parts) const;
  };
  // What FP8 has beside its numbers; else null.
  struct Scales {
    const float *a = nullptr, *b = nullptr;
  };
  class Plan;

  std::vector<GemmChoice> candidates(const Key& key, const Scales& scales) const;
  std::optional<GemmChoice> known(const Key& key, const std::string& product, const Scales& scales);
  GemmChoice choose(const Key& key, const Tensor& c, const Tensor& a, const Tensor& b, const void* addend,
                    const Scales& scales);
  void run(const Key& key, const Plan& plan, const GemmChoice& choice, void* c, const Tensor& a,
           const Tensor& b, const void* addend, const Factors& factors);
  void multiply(Key key, int64_t products, Tensor c, const Tensor& a, const Tensor& b, const Tensor& addend,
                const Factors& factors, const Scales& scales);

  GpuDevice& device_;
  bool tf32_;
  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  void* parts_ = nullptr;  // f32, of products that are cut along their inner dimension
  GemmAlgorithmCache choices_;
  std::map<Key, GemmChoice> chosen_;  // in this run
  int refused_ = 0, measured_ = 0;    // products, since the last take_notes()
  double seconds_ = 0;                // of measuring
};

}  // namespace moe::gpu
