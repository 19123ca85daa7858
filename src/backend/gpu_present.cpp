// SPDX-License-Identifier: MIT
#include "backend/gpu.h"
#include "gpu/gpu_device.h"
#include "gpu/gpu_ops.h"

namespace moe {

int gpus() {
  return gpu::usable_gpus();
}

Backend make_gpu() {
  auto device = std::make_unique<gpu::GpuDevice>(0);
  auto ops = std::make_unique<gpu::GpuOps>(*device);
  const std::string description = device->name() + ", " + ops->describe();
  return {std::move(device), std::move(ops), description};
}

}  // namespace moe
