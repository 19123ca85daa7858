// SPDX-License-Identifier: MIT
// What this machine can do at best, measured: the rates that floors are made of.
#pragma once

#include "ops/ops.h"
#include "tensor/device.h"
#include "tensor/dtype.h"

namespace moe::cli {

struct MachineRates {
  double flops =
      0;  // per second, in one large product of random matrices (constant ones draw less power and run faster)
  double bytes = 0;  // per second, read and written by a large copy
  double wait = 0;   // seconds that waiting for the device adds to an operation timed alone
};

// In products and copies of type `type`; takes up to a second or two.
MachineRates measure_machine(DType type, Device& device, Ops& ops);

}  // namespace moe::cli
