// SPDX-License-Identifier: MIT
// Which hardware: the one place that knows the implementations of Device and Ops.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ops/arithmetic.h"
#include "ops/ops.h"
#include "tensor/device.h"
#include "tensor/device_kind.h"

namespace moe::backend {

struct Backend {
  std::unique_ptr<Device> device;
  std::unique_ptr<Ops> ops;
  bool on_gpu = false;
  std::string description;  // one line for the start of a run: processor, threads, types, libraries, kernels
  // Lines for the person, on what took ops time beside its operations since the last call.
  std::function<std::vector<std::string>()> take_notes = [] { return std::vector<std::string>(); };
};

// threads: CPU threads, 0 for all cores. gpu: which one of
// the machine. Throws UserError when the hardware or its support in this build is missing.
// arithmetic: what will be computed in; a CPU has no TF32 and says that it computes in f32.
Backend make_backend(DeviceKind kind, int threads, Arithmetic arithmetic = {}, int gpu = 0);

// Whether the hardware that make_backend() takes for this kind multiplies bf16 faster than f32, and why.
struct Bf16Products {
  bool fast = false;
  std::string why;  // "AMX multiplies bf16"
};
Bf16Products bf16_products(DeviceKind kind);

}  // namespace moe::backend
