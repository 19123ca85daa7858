// SPDX-License-Identifier: MIT
// One NVIDIA GPU and the stream on which everything runs: operations, copies and the fills of new memory.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/nvml.h"
#include "tensor/device.h"

namespace moe::gpu {

// Why GPU `number` of this machine cannot be used: no driver or one that is too old, no GPU, one that is too
// old. Empty when it can.
std::string why_unusable(int number);

class GpuDevice final : public Device {
 public:
  // Throws UserError where why_unusable has a reason.
  explicit GpuDevice(int number);
  ~GpuDevice() override;
  GpuDevice(const GpuDevice&) = delete;
  GpuDevice& operator=(const GpuDevice&) = delete;

  std::string name() const override;  // "NVIDIA H200 (sm_90, 132 SMs, CUDA 13.0, driver 13.0)"
  int64_t memory_total() const override;
  int64_t memory_available() const override;
  void* allocate(int64_t bytes) override;
  void release(void* memory) override;
  void* allocate_host(int64_t bytes) override;
  void release_host(void* memory) override;
  // Copies src into pinned memory and returns; the rest happens on the stream.
  void to_device(Tensor dst, const void* src) override;
  void to_host(void* dst, const Tensor& src) override;
  void synchronize() override;
  std::optional<double> joules() override;

  cudaStream_t stream() const { return stream_; }
  const cudaDeviceProp& properties() const { return properties_; }

 private:
  // Pinned memory through which uploads go, in turns: a slot is free when its event has passed.
  struct Slot {
    void* memory = nullptr;
    cudaEvent_t free = nullptr;
  };
  static constexpr size_t kSlotBytes = 4 << 20;

  int number_;
  cudaDeviceProp properties_{};
  cudaStream_t stream_ = nullptr;
  std::array<Slot, 4> slots_;
  size_t next_slot_ = 0;
  std::mutex pinned_mutex_;
  std::map<void*, size_t> pinned_;  // bytes of what allocate_host() gave
  std::optional<Nvml> nvml_;        // opened by joules() when it is called first
  void* nvml_gpu_ = nullptr;        // this GPU there
};

}  // namespace moe::gpu
