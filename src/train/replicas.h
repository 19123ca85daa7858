// SPDX-License-Identifier: MIT
// The same weights on many ranks: what of a step is added up over them. Each rank computes the gradient of its own rows,
// scaled by the targets of all, so that the sum over ranks is the gradient of the whole step. Where ranks share the
// optimizer's work (ZeRO-1), each gets the sum for its part of the weights, updates that, and sends it to all others.
// The order of sums is in comm/communicator.h. In a world of one nothing here does anything.
#pragma once

#include <cstdint>
#include <span>

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
  // portion: that `weights` were made with.
  Replicas(const Weights& weights, const Portion& portion, Communicator& communicator);

  StepTotals add_up(const StepTotals& mine);
  void add_up(const StepSums& sums);
  // Of what is a rank's own; with shares the other gradients are unspecified then.
  void add_up_gradients();
  // Sums that each rank has computed over what is its own, which with shares is a part: of all then.
  void add_up_parts(Tensor sums);
  void add_up_parts(std::span<double> sums);
  // After each rank has written what is its own of the weights.
  void spread_weights();

 private:
  Tensor part(const Tensor& flat) const;

  const Weights& weights_;
  Portion portion_;
  Communicator& communicator_;
};

}  // namespace moe
