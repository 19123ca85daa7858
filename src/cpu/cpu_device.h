// SPDX-License-Identifier: MIT
// Device over ordinary memory. Operations are done when they return, so there is nothing to synchronise.
#pragma once

#include <string>

#include "tensor/device.h"

namespace moe::cpu {

class CpuDevice final : public Device {
 public:
  // threads: of the pool that computes, for the name only.
  explicit CpuDevice(int threads);

  std::string name() const override;
  int64_t memory_total() const override;  // base/host_memory.h
  int64_t memory_available() const override;
  void* allocate(int64_t bytes) override;
  void release(void* memory) override;
  void* allocate_host(int64_t bytes) override;
  void release_host(void* memory) override;
  void to_device(Tensor dst, const void* src) override;
  void to_host(void* dst, const Tensor& src) override;
  void synchronize() override {}

 private:
  int threads_;
};

}  // namespace moe::cpu
