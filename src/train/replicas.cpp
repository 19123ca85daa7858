// SPDX-License-Identifier: MIT
#include "train/replicas.h"

#include "comm/ordered_sum.h"
#include "ops/ops.h"

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

Beside Replicas::beside(Sequence& sequence, bool first, bool last) {
  Beside beside;
  if (!goes_beside()) return beside;
  if (first && groups_.in_parts())
    beside.before_reading = [this, &sequence](int64_t layer) {
      sequence.between([this, layer] {
        each_bucket([&](const Weights::Bucket& bucket, int lane) {
          if (bucket.layer == layer) ranks_of(bucket).finish(lane);
        });
      });
    };
  if (last)
    beside.behind_writing = [this, &sequence](int64_t layer) {
      sequence.between([this, layer] {
        each_bucket([&](const Weights::Bucket& bucket, int lane) {
          if (bucket.layer == layer) start_gradients(bucket, lane);
        });
      });
    };
  return beside;
}

void Replicas::start_gradients(const Weights::Bucket& bucket, int lane) {
  if (groups_.in_parts())
    ranks_of(bucket).start_reduce_scatter(lane, part(bucket, bucket.gradient), bucket.gradient);
  else
    ranks_of(bucket).start_all_reduce(lane, bucket.gradient);
}

void Replicas::finish_gradients() {
  each_bucket([&](const Weights::Bucket& bucket, int lane) {
    if (!goes_beside()) start_gradients(bucket, lane);
    ranks_of(bucket).finish(lane);
  });
}

void Replicas::add_up_parts(Tensor sums) {
  if (groups_.in_parts()) groups_.world().all_reduce(sums);
}

void Replicas::add_up_parts(std::span<double> sums) {
  if (!groups_.in_parts()) return;
  add_up_ranks(sums, groups_.world());
}

void Replicas::start_weights() {
  if (!groups_.in_parts()) return;
  each_bucket([&](const Weights::Bucket& bucket, int lane) {
    ranks_of(bucket).start_all_gather(lane, bucket.compute, part(bucket, bucket.compute));
  });
  if (!goes_beside()) finish_weights();
}

void Replicas::finish_weights() {
  if (!groups_.in_parts()) return;
  each_bucket([&](const Weights::Bucket& bucket, int lane) { ranks_of(bucket).finish(lane); });
}

void Replicas::each_bucket(const std::function<void(const Weights::Bucket& bucket, int lane)>& body) const {
  const std::vector<Weights::Bucket>& buckets = weights_.buckets();
  for (size_t i = 0; i < buckets.size(); ++i) body(buckets[i], static_cast<int>(i));
}

Tensor Replicas::part(const Weights::Bucket& bucket, const Tensor& flat) const {
  const Placement& placement = groups_.placement();
  const Portion& portion = bucket.experts ? placement.of_experts : placement.of_others;
  const int64_t n = flat.numel() / portion.ranks;
  return flat.rows(portion.rank * n, (portion.rank + 1) * n);
}

}  // namespace moe
