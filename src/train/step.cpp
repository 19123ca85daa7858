// SPDX-License-Identifier: MIT
#include "train/step.h"

#include "base/error.h"

namespace moe {

StepTotals run_step(TrainingState& state, const TrainingConfig& training,
                    std::span<const Batch> micro_batches, int64_t step, double learning_rate, Device& device,
                    Ops& ops) {
  CHECK(!micro_batches.empty());
  int64_t targets = 0;
  for (const Batch& batch : micro_batches) targets += batch.targets;
  const StepTotals totals = state.replicas.add_up({targets, std::ssize(micro_batches)});
  const auto loss_scale = static_cast<float>(state.loss_scale.value());
  state.transformer.zero_sums(ops);
  state.transformer.set_gradient_scales(device, loss_scale / static_cast<float>(totals.targets),
                                        loss_scale / static_cast<float>(totals.micro_batches));
  state.replicas.together([&] {
    for (const Batch& batch : micro_batches) {
      const bool first = &batch == micro_batches.data();
      state.transformer.upload(device, batch.input.data(), batch.target.data(), batch.first.data());
      (first ? state.first_micro_step : state.micro_step)->run([&] {
        state.transformer.forward_backward(first ? Gradients::write : Gradients::add, ops);
      });
    }
  });
  state.replicas.add_up(state.transformer.sums());
  state.replicas.add_up_gradients();
  state.optimizer.gradient_squares(state.squares_g);
  state.replicas.add_up_parts(state.squares_g);
  ops.clip_scale(state.clip_scale_1, state.squares_g, static_cast<float>(training.max_grad_norm), loss_scale);
  // Steps skipped for their scale have not moved the moments.
  state.optimizer.step(step - state.loss_scale.skipped(), learning_rate, state.clip_scale_1);
  state.replicas.spread_weights();
  return totals;
}

}  // namespace moe
