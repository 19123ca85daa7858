// SPDX-License-Identifier: MIT
#include "base/nvml.h"

namespace moe {

Nvml::Nvml() : library_({"libnvidia-ml.so.1"}) {
  const auto start = library_.find<int()>("nvmlInit_v2");
  started_ = start && start() == 0;
}

Nvml::~Nvml() {
  if (const auto stop = find<int()>("nvmlShutdown")) stop();
}

std::vector<void*> Nvml::gpus() const {
  const auto count = find<int(unsigned*)>("nvmlDeviceGetCount_v2");
  const auto handle = find<int(unsigned, void**)>("nvmlDeviceGetHandleByIndex_v2");
  std::vector<void*> gpus;
  unsigned number = 0;
  if (!count || !handle || count(&number) != 0) return gpus;
  for (unsigned i = 0; i < number; ++i) {
    void* gpu = nullptr;
    if (handle(i, &gpu) == 0) gpus.push_back(gpu);
  }
  return gpus;
}

void* Nvml::gpu_at(const std::string& bus) const {
  const auto handle = find<int(const char*, void**)>("nvmlDeviceGetHandleByPciBusId_v2");
  void* gpu = nullptr;
  return handle && handle(bus.c_str(), &gpu) == 0 ? gpu : nullptr;
}

std::optional<double> Nvml::joules(void* gpu) const {
  const auto energy = find<int(void*, unsigned long long*)>("nvmlDeviceGetTotalEnergyConsumption");
  unsigned long long millijoules = 0;
  if (!energy || gpu == nullptr || energy(gpu, &millijoules) != 0) return std::nullopt;
  return 1e-3 * static_cast<double>(millijoules);
}

}  // namespace moe
