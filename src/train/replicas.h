// SPDX-License-Identifier: MIT
// Data parallelism: what ranks with the same weights reduce and gather in a step. Each rank computes the
// gradient of its own rows, scaled by the targets of all ranks, so the sum over ranks is the gradient of the
// step. With ZeRO-1 a reduce-scatter gives each rank the sum for its shard; it updates the shard, and an
// all-gather sends it to the others. With expert parallelism the gradients of experts already come from the
// tokens of a whole group; ranks that own the same experts reduce theirs, with the same scale.
// comm/communicator.h has the order of sums. In a world of one nothing here does anything.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "model/transformer.h"
#include "model/weights.h"
#include "ops/ops.h"
#include "train/rank_groups.h"

namespace moe::train {

// What all ranks did in a step.
struct StepTotals {
  int64_t targets = 0, micro_batches = 0;
  int64_t tokens = 0;  // that are no padding; counted where the balance loss is the step's
};

class Replicas {
 public:
  // weights: made with the groups' sharding.
  Replicas(const model::Weights& weights, RankGroups& groups);

  StepTotals all_reduce(const StepTotals& mine);
  // Runs the model, on all ranks. With expert parallelism, tokens that exceed a receive buffer are an error
  // of one group. It becomes an error of all ranks, or the others would wait.
  void run_collectively(const std::function<void()>& model);
  // After the last micro-batch of a step, before anything is reduced: Communicator::step_barrier().
  void step_barrier() { groups_.world().step_barrier(); }
  void all_reduce(const model::StepSums& sums);
  void all_reduce(const Tensor& sum) { groups_.world().all_reduce(sum); }
  // Communication that overlaps a micro-batch, which `region` runs. In the last one of a step, the reduction
  // of a layer's gradients starts as soon as they are complete, while backward goes on. In the first one,
  // each layer waits for the all-gather of its weights. No hooks where a rank may fail in the middle of a
  // pass: the others would wait for it.
  model::LayerHooks layer_hooks(CapturedRegion& region, bool first, bool last);
  // After a step's last micro-batch: completes the reduction of gradients. With ZeRO-1 a rank has its shard
  // only; the rest is unspecified.
  void finish_gradients();
  // Sums that each rank has computed over its shard become sums over all shards.
  void all_reduce_shards(Tensor sums);
  void all_reduce_shards(std::span<double> sums);
  // After each rank has updated its shard: starts to send it to the others. The next micro-batch waits for it
  // layer by layer. All else that reads weights comes after finish_parameter_all_gather(). A rank's own shard
  // is always there.
  void start_parameter_all_gather();
  void finish_parameter_all_gather();

 private:
  bool overlaps_communication() const { return groups_.world().size() > 1 && !groups_.some_may_stop(); }
  void start_gradients(const model::Weights::Bucket& bucket, int slot);
  // With the bucket's async slot, in the order of the forward pass.
  void each_bucket(const std::function<void(const model::Weights::Bucket& bucket, int slot)>& body) const;
  // The ranks that have the same weights, and this rank's shard of a bucket.
  comm::Communicator& ranks_of(const model::Weights::Bucket& bucket) {
    return groups_.sharing(bucket.experts);
  }
  Tensor part(const model::Weights::Bucket& bucket, const Tensor& flat) const;

  const model::Weights& weights_;
  RankGroups& groups_;
};

}  // namespace moe::train
