// SPDX-License-Identifier: MIT
#include "train/replicas.h"

#include "base/shard.h"
#include "comm/ordered_sum.h"
#include "ops/ops.h"

namespace moe::train {

Replicas::Replicas(const model::Weights& weights, RankGroups& groups) : weights_(weights), groups_(groups) {}

StepTotals Replicas::all_reduce(const StepTotals& mine) {
  StepTotals totals;
  for (const StepTotals& rank : groups_.world().gather(mine)) {
    totals.targets += rank.targets;
    totals.micro_batches += rank.micro_batches;
    totals.tokens += rank.tokens;
  }
  return totals;
}

void Replicas::run_collectively(const std::function<void()>& model) {
  if (groups_.all_to_all() == nullptr) return model();
  comm::propagate_errors(groups_.world(), model);
}

void Replicas::all_reduce(const model::StepSums& sums) {
  for (const Tensor& sum : sums.all()) all_reduce(sum);
}

model::LayerHooks Replicas::layer_hooks(CapturedRegion& region, bool first, bool last) {
  model::LayerHooks hooks{.pre_forward = {}, .post_backward = {}, .new_weights = first};
  if (!overlaps_communication()) return hooks;
  if (first && groups_.in_parts())
    hooks.pre_forward = [this, &region](int64_t layer) {
      region.host_callback([this, layer] {
        each_bucket([&](const model::Weights::Bucket& bucket, int slot) {
          if (bucket.layer == layer) ranks_of(bucket).finish(slot);
        });
      });
    };
  if (last)
    hooks.post_backward = [this, &region](int64_t layer) {
      region.host_callback([this, layer] {
        each_bucket([&](const model::Weights::Bucket& bucket, int slot) {
          if (bucket.layer == layer) start_gradients(bucket, slot);
        });
      });
    };
  return hooks;
}

void Replicas::start_gradients(const model::Weights::Bucket& bucket, int slot) {
  if (groups_.in_parts())
    ranks_of(bucket).start_reduce_scatter(slot, part(bucket, bucket.gradient), bucket.gradient,
                                          bucket.counts);
  else
    ranks_of(bucket).start_all_reduce(slot, bucket.gradient);
}

void Replicas::finish_gradients() {
  each_bucket([&](const model::Weights::Bucket& bucket, int slot) {
    if (!overlaps_communication()) start_gradients(bucket, slot);
    ranks_of(bucket).finish(slot);
  });
}

void Replicas::all_reduce_shards(Tensor sums) {
  if (groups_.in_parts()) groups_.world().all_reduce(sums);
}

void Replicas::all_reduce_shards(std::span<double> sums) {
  if (!groups_.in_parts()) return;
  comm::add_up_ranks(sums, groups_.world());
}

void Replicas::start_parameter_all_gather() {
  if (!groups_.in_parts()) return;
  each_bucket([&](const model::Weights::Bucket& bucket, int slot) {
    ranks_of(bucket).start_all_gather(slot, bucket.compute, part(bucket, bucket.compute), bucket.counts);
  });
  if (!overlaps_communication()) finish_parameter_all_gather();
}

void Replicas::finish_parameter_all_gather() {
  if (!groups_.in_parts()) return;
  each_bucket([&](const model::Weights::Bucket& bucket, int slot) { ranks_of(bucket).finish(slot); });
}

void Replicas::each_bucket(
    const std::function<void(const model::Weights::Bucket& bucket, int slot)>& body) const {
  const std::vector<model::Weights::Bucket>& buckets = weights_.buckets();
  for (size_t i = 0; i < buckets.size(); ++i) body(buckets[i], static_cast<int>(i));
}

Tensor Replicas::part(const model::Weights::Bucket& bucket, const Tensor& flat) const {
  const ShardingPlan& sharding = groups_.sharding();
  const Shard& shard = bucket.experts ? sharding.expert_updates : sharding.other_updates;
  return flat.rows(elements_before(bucket.counts, shard.rank),
                   elements_before(bucket.counts, shard.rank + 1));
}

}  // namespace moe::train
