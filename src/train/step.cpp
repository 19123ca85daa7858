// SPDX-License-Identifier: MIT
#include "train/step.h"

#include <algorithm>

#include "base/error.h"
#include "model/schedule.h"

namespace moe::train {
namespace {

using Batches = std::span<const data::Batch>;

int64_t tokens_of(const data::Batch& batch) {
  return std::count_if(batch.first.begin(), batch.first.end(), [](int32_t first) { return first >= 0; });
}

// What the gradients of a step are divided by.
struct StepScale {
  StepTotals totals;
  float loss_scale = 1;
  BalanceScope scope = BalanceScope::rank;

  float loss() const { return loss_scale / static_cast<float>(totals.targets); }
  // The router's losses are means over micro-batches, or over the tokens of the step.
  float router(const data::Batch& batch) const {
    if (!of_step(scope)) return loss_scale / static_cast<float>(totals.micro_batches);
    const auto tokens = static_cast<double>(std::max<int64_t>(1, totals.tokens));
    return loss_scale * static_cast<float>(static_cast<double>(tokens_of(batch)) / tokens);
  }
};

void upload(model::Transformer& transformer, const data::Batch& batch, const StepScale& scale,
            Device& device) {
  transformer.upload(device, batch.input.data(), batch.target.data(), batch.first.data());
  transformer.set_gradient_scales(device, scale.loss(), scale.router(batch));
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

// With shares that are known: those of each, or of the step before. Two at a time where rows travel beside
// arithmetic.
void micro_steps(TrainingState& state, Batches batches, const StepScale& scale, Device& device, Ops& ops) {
  state.replicas.run_collectively([&] {
    for (size_t i = 0; i < batches.size();) {
      const bool first = i == 0;
      model::Transformer* const second = i + 1 < batches.size() ? state.overlap_transformer.get() : nullptr;
      upload(state.transformer, batches[i++], scale, device);
      if (second != nullptr) upload(*second, batches[i++], scale, device);
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

// With the shares of the step itself (Qiu et al. 2025, arXiv 2501.11873): who was chosen how often must be
// known before the first backward pass. A single micro-batch waits for the other ranks between its passes;
// with several, all run forward once to be counted.
void micro_steps_twice(TrainingState& state, Batches batches, const StepScale& scale, Device& device,
                       Ops& ops) {
  const auto forward = [&](const data::Batch& batch) {
    upload(state.transformer, batch, scale, device);
    CapturedRegion& region = *state.forward_step;
    region.run(
        [&] { state.transformer.forward_training(ops, state.replicas.layer_hooks(region, true, false)); });
  };
  state.replicas.run_collectively([&] {
    for (const data::Batch& batch : batches) forward(batch);
  });
  ops.copy(state.first_of_ranks_LE, state.transformer.sums().first_LE);
  state.replicas.all_reduce(state.first_of_ranks_LE);
  ops.balance_shares({.share_LE = state.transformer.shares(), .first_LE = state.first_of_ranks_LE});
  const bool again = batches.size() > 1;
  if (again) state.transformer.zero_sums(ops);
  state.replicas.run_collectively([&] {
    for (const data::Batch& batch : batches) {
      const Position position{&batch == batches.data(), &batch == &batches.back()};
      if (again) forward(batch);
      micro_step(state, position, [&](model::GradientMode gradients, const model::LayerHooks& hooks) {
        state.transformer.backward(gradients, ops, hooks);
      });
    }
  });
}

// What the step's counts of choices, those of all ranks, mean for the next one.
void balance_next_step(TrainingState& state, Ops& ops) {
  const model::StepSums& sums = state.transformer.sums();
  if (sums.count_LE.empty()) return;
  const bool moves = state.router_bias_rate > 0;
  const int64_t L = sums.count_LE.dim(0);  // the last ones: dense layers come first
  for (int64_t i = 0; i < L; ++i)
    if (const Tensor& bias_E = state.weights.layers[state.weights.layers.size() - static_cast<size_t>(L - i)]
                                   .moe.router_bias.value;
        moves && !bias_E.empty())
      ops.router_bias({.bias_E = bias_E,
                       .count_E = sums.count_LE.rows(i, i + 1),
                       .clip_scale_1 = state.clip_scale_1,
                       .rate = state.router_bias_rate});
  if (state.balance_scope == BalanceScope::previous_step)
    ops.balance_shares({.share_LE = state.transformer.shares(),
                        .first_LE = sums.first_LE,
                        .clip_scale_1 = state.clip_scale_1});
}

}  // namespace

StepTotals run_step(TrainingState& state, const TrainingConfig& training,
                    std::span<const data::Batch> micro_batches, const StepRates& rates, Device& device,
                    Ops& ops) {
  CHECK(!micro_batches.empty());
  StepTotals mine{.micro_batches = std::ssize(micro_batches)};
  for (const data::Batch& batch : micro_batches) {
    mine.targets += batch.targets;
    if (of_step(state.balance_scope)) mine.tokens += tokens_of(batch);
  }
  const StepTotals totals = state.replicas.all_reduce(mine);
  const StepScale scale{totals, static_cast<float>(state.loss_scale.value()), state.balance_scope};
  state.transformer.zero_sums(ops);
  if (state.forward_step)
    micro_steps_twice(state, micro_batches, scale, device, ops);
  else
    micro_steps(state, micro_batches, scale, device, ops);
  state.replicas.step_barrier();
  state.replicas.all_reduce(state.transformer.sums());
  state.replicas.finish_gradients();
  state.optimizer.gradient_squares(state.squares_g);
  state.replicas.all_reduce_shards(state.squares_g);
  ops.clip_scale(state.clip_scale_1, state.squares_g, static_cast<float>(training.max_grad_norm),
                 scale.loss_scale);
  state.step_guard.look(state.clip_scale_1, state.transformer.sums().loss_1, state.squares_g, totals.targets,
                        scale.loss_scale, ops);
  // Steps that were skipped have not moved the moments.
  const int64_t skipped = state.loss_scale.skipped() + state.step_guard.skipped();
  state.optimizer.step({rates.step - skipped, rates.learning_rate, rates.decay_scale}, state.clip_scale_1);
  if (state.average.enabled() && (rates.step + 1) % training.ema_every == 0)
    state.average.update(rates.step / training.ema_every, ops);
  state.replicas.start_parameter_all_gather();
  balance_next_step(state, ops);
  return totals;
}

}  // namespace moe::train
