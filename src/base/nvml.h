// SPDX-License-Identifier: MIT
// NVML, the management library that comes with NVIDIA's driver, by its public C interface. It is opened when
// the program runs: a machine without a GPU has none. Nothing here can fail: what is not there is left out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/shared_library.h"

namespace moe {

class Nvml {
 public:
  Nvml();
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  // Handles of the GPUs in the driver's order, whatever CUDA_VISIBLE_DEVICES says.
  std::vector<void*> gpus() const;
  // By the address on the bus that CUDA gives ("0000:3B:00.0"); null: there is none.
  void* gpu_at(const std::string& bus) const;
  // What the GPU has used since the driver was loaded. The counter moves some ten times a second. GPUs before
  // Volta have none.
  std::optional<double> joules(void* gpu) const;

  template <class Function>
  Function* find(const char* name) const {
    return started_ ? library_.find<Function>(name) : nullptr;
  }

 private:
  SharedLibrary library_;
  bool started_ = false;
};

}  // namespace moe
