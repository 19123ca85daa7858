// SPDX-License-Identifier: MIT
// Whether weights are fit to be kept. A loss tells one step too late, and of weights that no token of a batch
// has met it tells nothing: so they are looked at before they become a checkpoint, which may cost an older
// one its place.
#pragma once

#include <vector>

#include "comm/communicator.h"
#include "ops/ops.h"
#include "tensor/device.h"
#include "tensor/parameter.h"

namespace moe::train {

// weights: what this rank has of each (f32 or bf16); all ranks call this together. sum_1: f64 on the device,
// overwritten. Throws a UserError on all that names the step and the first tensor with a value that is not
// finite. Waits for the device.
void check_weights(const std::vector<NamedShard>& weights, int64_t step, const Tensor& sum_1,
                   comm::Communicator& communicator, Device& device, Ops& ops);

}  // namespace moe::train
