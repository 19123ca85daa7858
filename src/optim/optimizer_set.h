// SPDX-License-Identifier: MIT
// All optimizers of a run. A parameter's role decides which one updates it, with which rate and decay. Beside
// that: the groups of the gradient-norm table, and their sums.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/ops.h"
#include "optim/adamw.h"
#include "optim/muon.h"
#include "optim/optimizer_config.h"
#include "tensor/arena.h"
#include "tensor/parameter.h"

namespace moe::optim {

// A group of parameters as the optimizers treat it, of all ranks together.
struct OptimizerGroup {
  std::string name;
  Algorithm algorithm = Algorithm::adamw;
  int64_t tensors = 0, parameters = 0, eight_bit = 0;  // eight_bit: parameters with 8-bit states
  double rate_scale = 1, weight_decay = 0;
};

class OptimizerSet {
 public:
  // Takes the states of what is this rank's own from the arena, category "optimizer state"; keeps copies of
  // the views in `parameters`.
  // On a planning arena only the constructor, state(), groups() and summary() may be used.
  OptimizerSet(const OptimizerConfig& config, const std::vector<Parameter>& parameters, Arena& arena,
               Ops& ops);

  // squares_g f64 [groups().size()] = sum of squares of the gradients of each group, of what is this rank's
  // own.
  void gradient_squares(Tensor squares_g);
  // Updates all weights of its own. scale_1 f32 [1] multiplies the gradients; below 0 it means: change
  // nothing.
  void step(const Update& update, const Tensor& scale_1);

  // Groups of the parameters in order of first appearance.
  const std::vector<std::string>& groups() const { return groups_; }
  std::vector<OptimizerGroup> summary() const;
  // For the checkpoint, what of it lies here: first AdamW's states, then Muon's, each in the order of the
  // parameters. AdamW and Muon say what is saved under which name.
  std::vector<NamedShard> state() const;

 private:
  struct GroupGradient {
    size_t group = 0;
    Tensor gradient;
  };
  std::vector<Parameter> of(Algorithm algorithm) const;
  size_t group_of(const Parameter& parameter) const;
  void join_gradients();

  OptimizerConfig config_;
  Ops& ops_;
  std::vector<Parameter> parameters_;
  std::vector<std::string> groups_;
  AdamWOptimizer adamw_;
  MuonOptimizer muon_;
  std::vector<GroupGradient> gradients_;
};

}  // namespace moe::optim
