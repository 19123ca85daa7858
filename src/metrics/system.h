// SPDX-License-Identifier: MIT
// What the machine is doing, in the names that Weights & Biases has for it: processor and memory of this
// process from /proc, NVIDIA GPUs from the driver's library (NVML) where there is one. Nothing here can fail:
// what cannot be read is left out.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace moe::metrics {

class SystemMetrics {
 public:
  SystemMetrics();
  ~SystemMetrics();
  SystemMetrics(const SystemMetrics&) = delete;
  SystemMetrics& operator=(const SystemMetrics&) = delete;

  // cpu (percent of all cores that this process used since the call before; not in the first),
  // proc.memory.rssMB, proc.memory.percent, proc.cpu.threads, memory_percent; for each GPU gpu.N.gpu (percent
  // busy), gpu.N.memoryAllocatedBytes, gpu.N.memoryAllocated (percent), gpu.N.temp (Celsius), gpu.N.smClock
  // (MHz), gpu.N.powerWatts, gpu.N.enforcedPowerLimitWatts, gpu.N.powerPercent (near 100 and a clock below
  // the highest: power is what limits the speed).
  std::vector<std::pair<std::string, double>> sample();

 private:
  class Gpus;
  std::unique_ptr<Gpus> gpus_;
  double cpu_seconds_ = -1, at_ = 0;
};

}  // namespace moe::metrics
