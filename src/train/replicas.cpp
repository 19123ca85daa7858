// SPDX-License-Identifier: MIT
#include "train/replicas.h"

namespace moe {

Replicas::Replicas(const Weights& weights, Communicator& communicator)
    : weights_(weights), communicator_(communicator) {}

StepTotals Replicas::add_up(const StepTotals& mine) {
  StepTotals totals;
  for (const StepTotals& rank : communicator_.gather(mine)) {
    totals.targets += rank.targets;
    totals.micro_batches += rank.micro_batches;
  }
  return totals;
}

void Replicas::add_up(const StepSums& sums) {
  for (const Tensor& sum : sums.all()) communicator_.all_reduce(sum);
}

void Replicas::add_up_gradients() {
  for (const Tensor& gradients : weights_.gradients()) communicator_.all_reduce(gradients);
}

}  // namespace moe
