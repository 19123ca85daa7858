// SPDX-License-Identifier: MIT
// Everything a training run keeps on the device, laid out on one arena. On a planning arena it is only
// counted: that is `moe plan`, and how the size of the real one is known before anything is taken.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "model/decoder.h"
#include "model/transformer.h"
#include "model/weights.h"
#include "ops/arithmetic.h"
#include "ops/ops.h"
#include "optim/optimizer_set.h"
#include "optim/schedule.h"
#include "optim/weight_average.h"
#include "tensor/arena.h"
#include "train/loss_scale.h"
#include "train/replicas.h"
#include "train/run_config.h"
#include "train/step_guard.h"

namespace moe::train {

struct TrainingState {
  TrainingState(const RunConfig& config, int64_t vocabulary, RankGroups& groups, Ops& ops, Arena& arena);

  model::Weights weights;
  model::Transformer transformer;
  std::unique_ptr<model::Transformer>
      overlap_transformer;  // with distributed.overlap: of the second micro-batch in flight
  Replicas replicas;
  optim::OptimizerSet optimizer;
  optim::WeightAverage average;
  model::Decoder decoder;  // for samples
  Tensor squares_g;        // f64, sum of squares of the gradients by group
  Tensor clip_scale_1;     // f32
  StepGuard step_guard;
  LossScale loss_scale;  // on the host: its value goes to the device with each step
  // The operations of forward and backward, the same ones each time: in the first micro-batch of a step,
  // which writes gradients, and in the others, which add to them. With many ranks the last one is another,
  // too: gradients set out on the way. The only one of a step is both.
  std::unique_ptr<CapturedRegion> first_micro_step, micro_step, last_micro_step, only_micro_step;
  // distributed.balance_loss = global: those are backward only, and this is forward. Else null.
  std::unique_ptr<CapturedRegion> forward_step;
  Tensor first_of_ranks_LE;  // likewise: i32, first choices of the step
  BalanceScope balance_scope;
  float router_bias_rate;

  // The files of a checkpoint, what of them lies here: the weights, then what a checkpoint may lack, the
  // optimizer's states, the shares of balance_loss = previous_step and averaged weights (a run may go on with
  // another setting).
  std::vector<std::pair<std::string, std::vector<NamedShard>>> checkpoint_files() const;
  int64_t checkpoint_bytes() const;  // of these, those of all ranks
};

// The arena's size and table for this configuration, on the first of so many ranks; and what a checkpoint has
// of bytes.
int64_t plan_training(const RunConfig& config, int64_t vocabulary, int ranks, Device& device, Ops& ops,
                      Arena& planning);

// The layout by its name, and what each rank keeps and saves by it.
std::string describe_layout(const RunConfig& config, int64_t vocabulary, int ranks, Device& device, Ops& ops);

// For operations that are repeated. Captured as a graph where the settings allow it, and without expert
// parallelism, where the host reads counts in the middle of a pass.
std::unique_ptr<CapturedRegion> captured_region(const TrainingConfig& training, RankGroups& groups, Ops& ops);

// Category, bytes and share, one line each, and the total.
std::string memory_table(const Arena& arena);
// One line for each group of parameters: tensors, parameters, optimizer, how its moments are kept, peak rate,
// decay.
std::string optimizer_table(const optim::OptimizerSet& optimizer, const TrainingConfig& training);
// Throws UserError when the plan does not fit the device, naming the settings that shrink it.
void check_memory(const Arena& plan, const Device& device);
// What to change so that a configuration needs less memory.
extern const char* const kLessMemory;

// A Thing(arguments..., arena) with the memory it needs: counted on a planning arena, checked against the
// device, then built on one of that size. The arena comes first, so that it outlives the thing.
template <class Thing, class... Arguments>
std::pair<std::unique_ptr<Arena>, std::unique_ptr<Thing>> place(Device& device, Arguments&&... arguments) {
  Arena plan;
  { const Thing counted(arguments..., plan); }
  check_memory(plan, device);
  auto arena = std::make_unique<Arena>(device, plan.used());
  auto thing = std::make_unique<Thing>(arguments..., *arena);
  return {std::move(arena), std::move(thing)};
}

Arithmetic arithmetic(const TrainingConfig& training);
LossScale loss_scale(const TrainingConfig& training);
model::WeightTypes weight_types(const TrainingConfig& training);
model::MicroBatch micro_batch(const RunConfig& config, int64_t vocabulary);
optim::OptimizerConfig optimizer_config(const TrainingConfig& training);
optim::Schedule schedule(const TrainingConfig& training);

}  // namespace moe::train
