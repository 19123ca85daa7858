// SPDX-License-Identifier: MIT
// The lines of `moe doctor` about GPUs, their driver and CUDA's libraries.
#pragma once

#include <string>
#include <vector>

#include "doctor/checks.h"
#include "doctor/machine.h"

namespace moe::doctor {

// Whether training.device=auto takes the GPU.
struct GpuUse {
  bool taken = false;
  std::string why_not;  // "": there is no GPU
};

GpuUse use_of(const Gpus& gpus);
void add_gpu_checks(const Machine& machine, std::vector<Check>& checks);

}  // namespace moe::doctor
