// SPDX-License-Identifier: MIT
// How the rows of a step (training.global_batch_size) become micro-batches.
#pragma once

#include <string>

#include "comm/communicator.h"
#include "ops/ops.h"
#include "tensor/device.h"
#include "train/run_config.h"

namespace moe::train {

// What a rank computes on.
struct Room {
  double free_bytes = 0;
  bool on_gpu = false;
};

// Sets training.gradient_accumulation_steps where training.global_batch_size is set, and training.batch_size
// where that is "auto": to the largest that divides a rank's rows, fits into nine tenths of the room, and has
// no more tokens than make the device faster. Where nothing fits, to 1. Throws UserError where the rows of a
// step cannot be dealt so. device, ops: to plan with.
void set_micro_batches(RunConfig& config, int ranks, const Room& room, Device& device, Ops& ops);
// The same on all ranks, for the least memory that is free on one of them.
void set_micro_batches(RunConfig& config, comm::Communicator& ranks, bool on_gpu, Device& device, Ops& ops);

// "4 micro-batches of 128 x 1024 on each of 2 ranks", and what counts over the tokens of one.
std::string micro_batch_words(const RunConfig& config, int ranks);

}  // namespace moe::train
