// SPDX-License-Identifier: MIT
// An exponential moving average of the weights, to evaluate and to export:  a = d a + (1 - d) w  after an
// update, with d = min(decay, (1 + n) / (10 + n)) at the n-th average, so that the first weights are soon
// forgotten (TensorFlow's ExponentialMovingAverage). Polyak & Juditsky 1992; what it is worth in place of a
// decay of the learning rate: Haegele et al. 2024, arXiv 2405.18392.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/ops.h"
#include "tensor/arena.h"
#include "tensor/parameter.h"

namespace moe::optim {

class WeightAverage {
 public:
  // decay 0: there is none. Of what this rank updates, f32, from the arena; masters are f32.
  WeightAverage(double decay, const std::vector<Parameter>& parameters, Arena& arena);

  bool enabled() const { return decay_ > 0; }
  // The average is the weights as they are.
  void begin(Ops& ops) const;
  // n: averages before this one.
  void update(int64_t n, Ops& ops) const;
  // For the checkpoint, under the names of the weights.
  std::vector<NamedShard> state() const;

 private:
  struct Entry {
    NamedShard average;
    Tensor weight;
  };
  double decay_;
  std::vector<Entry> entries_;
};

}  // namespace moe::optim
