// SPDX-License-Identifier: MIT
// Loss on text the model does not learn from. Dropless whatever the capacity factor: the value of a text must
// not depend on what else is in the batch.
#pragma once

#include <cstdint>

#include "comm/communicator.h"
#include "data/batch.h"
#include "model/transformer.h"
#include "ops/ops.h"
#include "tensor/device.h"

namespace moe::train {

struct Evaluation {
  double loss_sum = 0;  // nats
  int64_t targets = 0, bytes = 0;

  double loss() const { return loss_sum / static_cast<double>(targets); }  // nats per token
  double perplexity() const;
  double bits_per_byte() const;
};

// Over all ranks.
Evaluation all_reduce(const Evaluation& mine, comm::Communicator& communicator);

// Adds one batch of the transformer's shape. observer: as in Transformer::forward.
void evaluate(model::Transformer& transformer, const data::Batch& batch, Device& device, Ops& ops,
              Evaluation& evaluation, const model::BlockObserver& observer = {});

}  // namespace moe::train
