// SPDX-License-Identifier: MIT
#include "backend/backend.h"

#include "backend/gpu.h"
#include "base/error.h"
#include "base/threads.h"
#include "cpu/cpu_device.h"
#include "cpu/cpu_ops.h"
#include "cpu/gemm.h"

namespace moe::backend {
namespace {

// A base class so that the pool is made before the ops that use it and goes after them.
struct OwnPool {
  explicit OwnPool(int threads) : pool(threads) {}
  ThreadPool pool;
};

class CpuBackendOps final : private OwnPool, public cpu::CpuOps {
 public:
  explicit CpuBackendOps(int threads) : OwnPool(threads), cpu::CpuOps(pool) {}
  int threads() const { return pool.size(); }
};

Backend make_cpu(int threads, Arithmetic arithmetic) {
  auto ops = std::make_unique<CpuBackendOps>(threads);
  auto device = std::make_unique<cpu::CpuDevice>(ops->threads());
  const std::string description = device->name() + ", " + std::string(name_of(arithmetic.type)) +
                                  (arithmetic.tf32  ? " (a CPU has no TF32)"
                                   : arithmetic.fp8 ? " (with FP8 operands, multiplied as bf16)"
                                                    : "") +
                                  ", " + ops->describe(arithmetic.type);
  return {std::move(device), std::move(ops), false, description};
}

}  // namespace

Backend make_backend(DeviceKind kind, int threads, Arithmetic arithmetic, int gpu) {
  switch (kind) {
    case DeviceKind::gpu:
      return make_gpu(arithmetic, gpu);
    case DeviceKind::cpu:
      return make_cpu(threads, arithmetic);
    case DeviceKind::automatic: {
      // Of the first GPU: a rank without one of its own must not take the CPU.
      const GpuState state = gpu_state();
      if (state.usable) return make_gpu(arithmetic, gpu);
      Backend backend = make_cpu(threads, arithmetic);
      if (!state.reason.empty()) backend.description += "; not on a GPU: " + state.reason;
      return backend;
    }
  }
  CHECK(false, "a kind of device without a backend");
}

Bf16Products bf16_products(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::gpu:  // make_gpu() refuses those without
      return {true, "a GPU's matrix units multiply bf16"};
    case DeviceKind::cpu: {
      const cpu::Instructions instructions = cpu::instructions();
      return {
          instructions.bf16_products,
          instructions.name + (instructions.bf16_products ? " multiplies bf16" : " does not multiply bf16")};
    }
    case DeviceKind::automatic:
      return bf16_products(gpu_state().usable ? DeviceKind::gpu : DeviceKind::cpu);
  }
  CHECK(false, "a kind of device without products");
}

}  // namespace moe::backend
