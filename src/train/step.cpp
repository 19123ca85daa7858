// SPDX-License-Identifier: MIT
#include "train/step.h"

#include <algorithm>

#include "base/error.h"
#include "model/schedule.h"

namespace moe::train {
namespace {

using Batches = std::span<const data::Batch>;

void upload(model::Transformer& transformer, const data::Batch& batch, Device& device) {
  transformer.upload(device, batch.input.data(), batch.target.data(), batch.first.data());
}

// Which one of a step's micro-batches.
struct Position {
  bool first = false, last = false;
  model::GradientMode gradients() const {
    return first ? model::GradientMode::overwrite : model::GradientMode::accumulate;
  }
};

// Runs pass(gradients, beside) as what forward and backward do there.
template <class Pass>
void micro_step(TrainingState& state, const Position& position, const Pass& pass) {
  CapturedRegion& region = position.first && position.last          ? *state.only_micro_step
                           : position.first                         ? *state.first_micro_step
                           : position.last && state.last_micro_step ? *state.last_micro_step
                                                                    : *state.micro_step;
  region.run(
      [&] { pass(position.gradients(), state.replicas.layer_hooks(region, position.first, position.last)); });
}

// Each with its own balance loss; two at a time where rows travel beside arithmetic.
void micro_steps(TrainingState& state, Batches batches, Device& device, Ops& ops) {
  state.replicas.run_collectively([&] {
    for (size_t i = 0; i < batches.size();) {
      const bool first = i == 0;
      model::Transformer* const second = i + 1 < batches.size() ? state.overlap_transformer.get() : nullptr;
      upload(state.transformer, batches[i++], device);
      if (second != nullptr) upload(*second, batches[i++], device);
      micro_step(state, {first, i == batches.size()},
                 [&](model::GradientMode gradients, const model::LayerHooks& hooks) {
                   if (second != nullptr)
                     model::forward_backward_interleaved(state.transformer, *second, gradients, ops, hooks);
                   else
                     state.transformer.forward_backward(gradients, ops, hooks);
                 });
    }
  });
}

int64_t tokens_of(const data::Batch& batch) {
  return std::count_if(batch.first.begin(), batch.first.end(), [](int32_t first) { return first >= 0; });
}

// With the balance loss of the whole step: who was chosen how often must be known before the first backward
// pass. A single micro-batch waits for the other ranks between its passes; with several, all run forward once
// to be counted.
void micro_steps_in_balance(TrainingState& state, Batches batches, float scale, float loss_scale,
                            Device& device, Ops& ops) {
  const auto forward = [&](const data::Batch& batch) {
    upload(state.transformer, batch, device);
    CapturedRegion& region = *state.forward_step;
    region.run(
        [&] { state.transformer.forward_training(ops, state.replicas.layer_hooks(region, true, false)); });
  };
  GlobalBalance& balance = *state.balance;
  balance.begin();
  state.replicas.run_collectively([&] {
    for (const data::Batch& batch : batches) {
      forward(batch);
      balance.count(state.transformer, tokens_of(batch), device);
    }
  });
  state.replicas.all_reduce(balance);
  const bool again = batches.size() > 1;
  if (again) state.transformer.zero_sums(ops);
  state.replicas.run_collectively([&] {
    for (const data::Batch& batch : batches) {
      const Position position{&batch == batches.data(), &batch == &batches.back()};
      if (again) forward(batch);
      balance.put_shares(state.transformer, device);
      const auto share = static_cast<double>(tokens_of(batch)) / static_cast<double>(balance.tokens());
      state.transformer.set_gradient_scales(device, scale, loss_scale * static_cast<float>(share));
      micro_step(state, position, [&](model::GradientMode gradients, const model::LayerHooks& hooks) {
        state.transformer.backward(gradients, ops, hooks);
      });
    }
  });
}

}  // namespace

StepTotals run_step(TrainingState& state, const TrainingConfig& training,
                    std::span<const data::Batch> micro_batches, const StepRates& rates, Device& device,
                    Ops& ops) {
  CHECK(!micro_batches.empty());
  int64_t targets = 0;
  for (const data::Batch& batch : micro_batches) targets += batch.targets;
  const StepTotals totals = state.replicas.all_reduce({targets, std::ssize(micro_batches)});
  const auto loss_scale = static_cast<float>(state.loss_scale.value());
  const float scale = loss_scale / static_cast<float>(totals.targets);
  state.transformer.zero_sums(ops);
  state.transformer.set_gradient_scales(device, scale, loss_scale / static_cast<float>(totals.micro_batches));
  if (state.balance)
    micro_steps_in_balance(state, micro_batches, scale, loss_scale, device, ops);
  else
    micro_steps(state, micro_batches, device, ops);
  state.replicas.step_barrier();
  state.replicas.all_reduce(state.transformer.sums());
  if (state.balance) state.balance->put_losses(state.transformer.sums(), totals.micro_batches, device);
  state.replicas.finish_gradients();
  state.optimizer.gradient_squares(state.squares_g);
  state.replicas.all_reduce_shards(state.squares_g);
  ops.clip_scale(state.clip_scale_1, state.squares_g, static_cast<float>(training.max_grad_norm), loss_scale);
  state.step_guard.look(state.clip_scale_1, state.transformer.sums().loss_1, state.squares_g, totals.targets,
                        loss_scale, ops);
  // Steps that were skipped have not moved the moments.
  const int64_t skipped = state.loss_scale.skipped() + state.step_guard.skipped();
  state.optimizer.step({rates.step - skipped, rates.learning_rate, rates.decay_scale}, state.clip_scale_1);
  if (state.average.enabled() && (rates.step + 1) % training.ema_every == 0)
    state.average.update(rates.step / training.ema_every, ops);
  state.replicas.start_parameter_all_gather();
  return totals;
}

}  // namespace moe::train
