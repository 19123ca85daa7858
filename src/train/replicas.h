// SPDX-License-Identifier: MIT
// The same weights on many ranks: what of a step is added up over them. Each rank computes the gradient of its own rows,
// scaled by the targets of all, so that the sum over ranks is the gradient of the whole step. The order is in
// comm/communicator.h. In a world of one nothing here does anything.
#pragma once

#include <cstdint>

#include "comm/communicator.h"
#include "model/transformer.h"
#include "model/weights.h"

namespace moe {

// What all ranks did in a step.
struct StepTotals {
  int64_t targets = 0, micro_batches = 0;
};

class Replicas {
 public:
  Replicas(const Weights& weights, Communicator& communicator);

  StepTotals add_up(const StepTotals& mine);
  void add_up(const StepSums& sums);
  void add_up_gradients();

 private:
  const Weights& weights_;
  Communicator& communicator_;
};

}  // namespace moe
