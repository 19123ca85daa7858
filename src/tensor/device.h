// SPDX-License-Identifier: MIT
// Where tensors live. One allocation holds a whole run (tensor/arena.h); nothing is allocated inside a step.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tensor/tensor.h"

namespace moe {

class Device {
 public:
  virtual ~Device() = default;

  virtual std::string name() const = 0;          // "CPU (AMD EPYC, 2 threads)"
  virtual int64_t memory_total() const = 0;      // bytes the device has
  virtual int64_t memory_available() const = 0;  // bytes a new allocation could take now

  // 256-byte aligned, zeroed. Throws UserError when there is not enough memory.
  virtual void* allocate(int64_t bytes) = 0;
  virtual void release(void* memory) = 0;

  // Memory of the host that to_host fills as fast as the device can send (pinned, for a GPU). Taking it is
  // slow. Any thread may ask. Throws UserError when there is not enough.
  virtual void* allocate_host(int64_t bytes) = 0;
  virtual void release_host(void* memory) = 0;

  // Between the host and this device; dst and src have equal bytes. Both return when the copy is done, and
  // see all work queued before on this device.
  virtual void to_device(Tensor dst, const void* src) = 0;
  virtual void to_host(void* dst, const Tensor& src) = 0;
  virtual void synchronize() = 0;

  // What the device has used since some fixed time, by a counter of its own that moves a few times a second.
  // None where there is no such counter.
  virtual std::optional<double> joules() { return std::nullopt; }
};

}  // namespace moe
