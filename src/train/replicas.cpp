// SPDX-License-Identifier: MIT
#include "train/replicas.h"

#include "comm/ordered_sum.h"

namespace moe {

Replicas::Replicas(const Weights& weights, RankGroups& groups) : weights_(weights), groups_(groups) {}

StepTotals Replicas::add_up(const StepTotals& mine) {
  StepTotals totals;
  for (const StepTotals& rank : groups_.world().gather(mine)) {
    totals.targets += rank.targets;
    totals.micro_batches += rank.micro_batches;
  }
  return totals;
}

void Replicas::together(const std::function<void()>& model) {
  if (groups_.exchange() == nullptr) return model();
  agree(groups_.world(), model);
}

void Replicas::add_up(const StepSums& sums) {
  for (const Tensor& sum : sums.all()) groups_.world().all_reduce(sum);
}

void Replicas::add_up(GlobalBalance& balance) {
  balance.add_up(groups_.world());
}

void Replicas::add_up_gradients() {
  for (const Weights::Group& group : weights_.groups()) {
    if (groups_.in_parts())
      ranks_of(group).reduce_scatter(part(group, group.gradient), group.gradient);
    else
      ranks_of(group).all_reduce(group.gradient);
  }
}

void Replicas::add_up_parts(Tensor sums) {
  if (groups_.in_parts()) groups_.world().all_reduce(sums);
}

void Replicas::add_up_parts(std::span<double> sums) {
  if (!groups_.in_parts()) return;
  add_up_ranks(sums, groups_.world());
}

void Replicas::spread_weights() {
  if (!groups_.in_parts()) return;
  for (const Weights::Group& group : weights_.groups())
    ranks_of(group).all_gather(group.compute, part(group, group.compute));
}

Communicator& Replicas::ranks_of(const Weights::Group& group) {
  return group.experts ? groups_.replicas() : groups_.world();
}

Tensor Replicas::part(const Weights::Group& group, const Tensor& flat) const {
  const Placement& placement = groups_.placement();
  const Portion& portion = group.experts ? placement.of_experts : placement.of_others;
  const int64_t n = flat.numel() / portion.ranks;
  return flat.rows(portion.rank * n, (portion.rank + 1) * n);
}

}  // namespace moe
