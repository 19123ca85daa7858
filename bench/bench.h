// SPDX-License-Identifier: MIT
// What every benchmark of operations needs: a pool, its ops, and tensors of random values that live as long.
#pragma once

#include <cstdint>
#include <vector>

#include "base/random.h"
#include "base/threads.h"
#include "cpu/cpu_device.h"
#include "cpu/cpu_ops.h"

namespace moe {

class Bench {
 public:
  // threads: 0 is all cores.
  explicit Bench(int64_t threads = 0)
      : pool_(static_cast<int>(threads)), device_(pool_.size()), ops_(pool_) {}
  ~Bench() {
    for (void* memory : memory_) device_.release(memory);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  Ops& ops() { return ops_; }

  Tensor zeros(DType dtype, const std::vector<int64_t>& shape) {
    const Tensor size(nullptr, dtype, shape.data(), static_cast<int>(shape.size()));
    memory_.push_back(device_.allocate(size.bytes()));
    return {memory_.back(), dtype, shape.data(), static_cast<int>(shape.size())};
  }

  // Uniform in [-scale, scale).
  Tensor random(DType dtype, const std::vector<int64_t>& shape, float scale = 1) {
    const Tensor wide = zeros(DType::f32, shape), tensor = zeros(dtype, shape);
    const Random values(1, "bench");
    float* out = Tensor(wide).as<float>();
    for (int64_t i = 0; i < wide.numel(); ++i)
      out[i] = scale * (2 * values.uniform(static_cast<uint64_t>(i)) - 1);
    ops_.cast({tensor, wide});
    return tensor;
  }

 private:
  ThreadPool pool_;
  cpu::CpuDevice device_;
  cpu::CpuOps ops_;
  std::vector<void*> memory_;
};

}  // namespace moe
