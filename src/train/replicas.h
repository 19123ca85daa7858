// SPDX-License-Identifier: MIT
// The same weights on many ranks: what of a step is added up over them. Each rank computes the gradient of its own rows,
// scaled by the targets of all, so that the sum over ranks is the gradient of the whole step. Where ranks share the
// optimizer's work (ZeRO-1), each gets the sum for its part of the weights, updates that, and sends it to all others. Of
// experts that are dealt to ranks, the gradients come from the tokens of all ranks of a group already: those with the same
// experts add theirs up, and the scale is that of everything else.
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

// What all ranks did in a step.
struct StepTotals {
  int64_t targets = 0, micro_batches = 0;
};

class Replicas {
 public:
  // weights: made with the groups' placement.
  Replicas(const Weights& weights, RankGroups& groups);

  StepTotals add_up(const StepTotals& mine);
  // Runs the model, on all ranks. Where experts are dealt, rows that have no room are an error of those who share the experts:
  // it becomes one of all, or the others would wait for them.
  void together(const std::function<void()>& model);
  // Behind the last micro-batch of a step, before anything of it is added up: Communicator::meet().
  void meet() { groups_.world().meet(); }
  void add_up(const StepSums& sums);
  void add_up(GlobalBalance& balance);
  // Of what is a rank's own; with shares the other gradients are unspecified then.
  void add_up_gradients();
  // Sums that each rank has computed over what is its own, which with shares is a part: of all then.
  void add_up_parts(Tensor sums);
  void add_up_parts(std::span<double> sums);
  // After each rank has written what is its own of the weights.
  void spread_weights();

 private:
  // Those that have the same weights of a group, and what of it is this rank's own.
  Communicator& ranks_of(const Weights::Group& group);
  Tensor part(const Weights::Group& group, const Tensor& flat) const;

  const Weights& weights_;
  RankGroups& groups_;
};

}  // namespace moe
