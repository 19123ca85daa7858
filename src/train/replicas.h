// SPDX-License-Identifier: MIT
// The same weights on many ranks: what of a step is added up over them. Each rank computes the gradient of
// its own rows, scaled by the targets of all, so that the sum over ranks is the gradient of the whole step.
// Where ranks share the optimizer's work (ZeRO-1), each gets the sum for its part of the weights, updates
// that, and sends it to all others. Of experts that are dealt to ranks, the gradients come from the tokens of
// all ranks of a group already: those with the same experts add theirs up, and the scale is that of
// everything else.
// The order of sums is in comm/communicator.h. In a world of one nothing here does anything.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "model/transformer.h"
#include "model/weights.h"
#include "train/global_balance.h"
#include "train/rank_groups.h"

namespace moe {

class CapturedRegion;

// What all ranks did in a step.
struct StepTotals {
  int64_t targets = 0, micro_batches = 0;
};

class Replicas {
 public:
  // weights: made with the groups' sharding.
  Replicas(const Weights& weights, RankGroups& groups);

  StepTotals all_reduce(const StepTotals& mine);
  // Runs the model, on all ranks. Where experts are dealt, rows that have no room are an error of those who
  // share the experts: it becomes one of all, or the others would wait for them.
  void run_collectively(const std::function<void()>& model);
  // Behind the last micro-batch of a step, before anything of it is added up: Communicator::step_barrier().
  void step_barrier() { groups_.world().step_barrier(); }
  void all_reduce(const StepSums& sums);
  void all_reduce(GlobalBalance& balance);
  // What goes on beside a micro-batch that `region` runs: in the last one of a step each layer's gradients
  // set out to be added up as soon as they are complete, while those of the layers before are computed; in
  // the first one each layer waits for its weights to come from who updates them. Nothing where a rank may
  // give up on the way: the others would wait for it.
  LayerHooks layer_hooks(CapturedRegion& region, bool first, bool last);
  // After a step's last micro-batch: the gradients are added up, of what is a rank's own; with shares the
  // others are unspecified then.
  void finish_gradients();
  // Sums that each rank has computed over what is its own, which with shares is a part: of all then.
  void all_reduce_shards(Tensor sums);
  void all_reduce_shards(std::span<double> sums);
  // After each rank has written what is its own of the weights: it sets out to the others, and the next
  // micro-batch waits for it layer by layer. All else that reads weights comes behind
  // finish_parameter_all_gather(); what a rank has updated itself is always there.
  void start_parameter_all_gather();
  void finish_parameter_all_gather();

 private:
  bool overlaps_communication() const { return groups_.world().size() > 1 && !groups_.some_may_stop(); }
  void start_gradients(const Weights::Bucket& bucket, int slot);
  // With the slot that a bucket has, in the order of the forward pass.
  void each_bucket(const std::function<void(const Weights::Bucket& bucket, int slot)>& body) const;
  // Those that have the same weights, and what of a bucket is this rank's own.
  Communicator& ranks_of(const Weights::Bucket& bucket) { return groups_.sharing(bucket.experts); }
  Tensor part(const Weights::Bucket& bucket, const Tensor& flat) const;

  const Weights& weights_;
  RankGroups& groups_;
};

}  // namespace moe
