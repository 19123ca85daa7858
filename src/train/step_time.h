// SPDX-License-Identifier: MIT
// How long a step will take on GPUs that are not here: for `moe plan` and docs/scaling.md. All assumptions
// are in the structures below and in the formulas of step_time.cpp; the rates of compute are from one H200
// (docs/benchmarks.md), those of transfers from data sheets and not measured.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "train/run_config.h"

namespace moe::train {

// A GPU and the machine it is in. Bytes a second in one direction.
struct GpuRates {
  std::string name;    // "h100"
  double memory = 0;   // bytes of one GPU that a run can have
  double flops = 0;    // dense bf16, by the data sheet; 0: not known, and there are no times
  double bytes = 0;    // of its memory, by the data sheet
  double link = 0;     // NVLink, of one GPU
  double network = 0;  // between machines, of one GPU: a network card for each
  int gpus_of_machine = 8;
};

const std::vector<GpuRates>& known_gpus();
// By its name there in any case, or by a device's name ("NVIDIA H200 ...", "NVIDIA GeForce RTX 4090"). None
// for others.
const GpuRates* find_gpu(std::string_view name);

// What of the data sheets' rates is reached.
struct Efficiency {
  // Measured on one H200: `bench/gpu_check.sh quick` and the phases in docs/benchmarks.md.
  double projections = 0.69, head = 0.68, experts = 0.54, attention = 0.26;  // of flops
  double newton_schulz = 0.43;
  double memory = 0.78;  // of bytes
  // Measured on two H100s: what a step is shorter by where a transfer goes beside a pass, of what the
  // transfer takes alone: its kernels take multiprocessors from the pass.
  double beside = 0.4;
  // Assumed.
  double link = 0.8, network = 0.8;
  double hop_seconds = 3e-6;    // of a ring, for each rank it goes through
  double wait_seconds = 50e-6;  // the host learns how many rows go where: once a block in each forward
};

struct StepTime {
  double compute = 0, optimizer = 0;            // seconds
  double newton_schulz = 0;                     // of the optimizer's
  double gradients = 0, weights = 0, rows = 0;  // seconds of transfers
  double hidden = 0;  // of gradients and weights: beside the last backward and the first forward pass
  double transfers() const { return gradients + weights + rows - hidden; }
  double total() const { return compute + optimizer + transfers(); }
};

// Of a whole step on each of so many ranks, routing evenly spread. None where the rates are not known: of
// products in f32, or of a GPU that is told by its memory alone.
std::optional<StepTime> predict_step(const RunConfig& config, int ranks, const GpuRates& gpu,
                                     const Efficiency& efficiency = {});

// Bytes that leave a rank for the experts of others and come back, for each token, forward and backward, in
// bf16.
double row_bytes_of_token(const RunConfig& config, int expert_ranks);

}  // namespace moe::train
