// SPDX-License-Identifier: MIT
#include "train/replicas.h"

#include <algorithm>
#include <vector>

namespace moe {

Replicas::Replicas(const Weights& weights, const Portion& portion, Communicator& communicator)
    : weights_(weights), portion_(portion), communicator_(communicator) {
  CHECK(portion.ranks == 1 || (portion.ranks == communicator.size() && portion.rank == communicator.rank()));
}

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
  for (const Weights::Group& group : weights_.groups()) {
    if (portion_.ranks > 1)
      communicator_.reduce_scatter(part(group.gradient), group.gradient);
    else
      communicator_.all_reduce(group.gradient);
  }
}

void Replicas::add_up_parts(Tensor sums) {
  if (portion_.ranks > 1) communicator_.all_reduce(sums);
}

void Replicas::add_up_parts(std::span<double> sums) {
  if (portion_.ranks == 1) return;
  std::vector<double> all(sums.size() * static_cast<size_t>(portion_.ranks));
  communicator_.exchange(std::as_writable_bytes(std::span(all)), std::as_bytes(sums));
  std::fill(sums.begin(), sums.end(), 0.0);
  for (size_t i = 0; i < all.size(); ++i) sums[i % sums.size()] += all[i];
}

void Replicas::spread_weights() {
  if (portion_.ranks == 1) return;
  for (const Weights::Group& group : weights_.groups())
    communicator_.all_gather(group.compute, part(group.compute));
}

Tensor Replicas::part(const Tensor& flat) const {
  const int64_t n = flat.numel() / portion_.ranks;
  return flat.rows(portion_.rank * n, (portion_.rank + 1) * n);
}

}  // namespace moe
