// SPDX-License-Identifier: MIT
// The order in which the phases of all blocks run: for one micro-batch, or for two in flight. With two, the
// all-to-all of one overlaps the computation of the other, block by block.
#pragma once

#include <span>

#include "model/transformer.h"

namespace moe::model {

// The micro-batches in flight. Several need expert parallelism and a Transformer each.
using InFlight = std::span<Transformer* const>;

void run_forward(InFlight all, const Capacity& capacity, Ops& ops, const BlockObserver& observer,
                 const LayerHooks& hooks);
// After run_forward(). gradients: of the first micro-batch; the others add to them.
void run_backward(InFlight all, GradientMode gradients, Ops& ops, const LayerHooks& hooks);

// Two micro-batches. Only the additions to the embedding's gradient come in another order than with a before
// b.
void forward_backward_interleaved(Transformer& a, Transformer& b, GradientMode gradients, Ops& ops,
                                  const LayerHooks& hooks = {});

}  // namespace moe::model
