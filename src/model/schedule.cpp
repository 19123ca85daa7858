// SPDX-License-Identifier: MIT
#include "model/schedule.h"

#include <array>
#include <functional>

namespace moe::model {
namespace {

void notify(const std::function<void(int64_t)>& who, int64_t layer) {
  if (who) who(layer);
}

}  // namespace

// While tokens of one micro-batch go to their experts, the attention or the experts of the other one run.
// While the results go back, the experts of the other one or its next attention run.
void run_forward(InFlight all, const Capacity& capacity, Ops& ops, const BlockObserver& observer,
                 const LayerHooks& hooks) {
  const auto begin = [&](int64_t layer) {
    notify(hooks.pre_forward, layer);
    if (hooks.new_weights) all.front()->quantise_weights(layer, ops);
  };
  begin(kNoLayer);
  for (Transformer* t : all) t->embed(ops);
  const int64_t layers = all.front()->layers();
  for (int64_t layer = 0; layer < layers; ++layer) {
    begin(layer);
    for (Transformer* t : all) {
      if (layer > 0) t->combine(layer - 1, ops, observer);
      t->dispatch(layer, capacity, ops);
    }
    for (Transformer* t : all) t->experts(layer, ops);
  }
  for (Transformer* t : all) t->combine(layers - 1, ops, observer);
}

void run_backward(InFlight all, GradientMode gradients, Ops& ops, const LayerHooks& hooks) {
  const auto of = [&](const Transformer* t) {
    return t == all.front() ? gradients : GradientMode::accumulate;
  };
  if (gradients == GradientMode::overwrite) all.front()->zero_added_gradients(ops);
  const int64_t layers = all.front()->layers();
  for (Transformer* t : all) {
    t->head_backward(of(t), ops);  // a tied embedding's gradient is the head's first, then that of the tokens
    t->dispatch_gradients(layers - 1, ops);
  }
  for (int64_t layer = layers; layer-- > 0;) {
    for (Transformer* t : all) t->experts_backward(layer, of(t), ops);
    for (Transformer* t : all) {
      t->combine_gradients(layer, of(t), ops);
      if (layer > 0) t->dispatch_gradients(layer - 1, ops);
    }
    notify(hooks.post_backward, layer);
  }
  for (Transformer* t : all) t->embedding_backward(ops);
  notify(hooks.post_backward, kNoLayer);
}

void forward_backward_interleaved(Transformer& a, Transformer& b, GradientMode gradients, Ops& ops,
                                  const LayerHooks& hooks) {
  const std::array all{&a, &b};
  run_forward(all, a.capacity(), ops, {}, hooks);
  run_backward(all, gradients, ops, hooks);
}

}  // namespace moe::model
