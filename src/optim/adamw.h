// SPDX-License-Identifier: MIT
// The optimizer's states and the walk over all parameters. The arithmetic of one tensor is Ops::adamw8 and
// Ops::adamw32; here is decided which tensor has which states, under which names they are saved, which groups
// the table of gradient norms has, and which tensors lie in memory so that one operation takes them all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/ops.h"
#include "tensor/arena.h"
#include "tensor/parameter.h"

namespace moe::optim {

// What the optimizer does with the tensors of a role (tensor/parameter.h).
struct RolePolicy {
  bool eight_bit = true;    // block-wise 8-bit states
  double rate_scale = 1;    // of the learning rate
  double weight_decay = 0;  // decoupled: times the learning rate
  bool operator==(const RolePolicy&) const = default;
};

struct OptimizerConfig {
  bool eight_bit = true;  // 8-bit block-wise states (2.03 bytes a weight) instead of two f32 (8 bytes)
  AdamW::Order order = AdamW::Order::pytorch;
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0.1;
  // Two roles whose states stay f32 in 8-bit mode, unless asked for.
  bool embedding_8bit = false, router_8bit = false;
  double embedding_rate_scale = 1, head_rate_scale = 1, router_rate_scale = 1, norm_rate_scale = 1;
  bool embedding_decays = true, router_decays = true;
  uint64_t seed = 0;  // of the rounding of bf16 weights

  // A role decides its states, rate and decay, here and nowhere else.
  RolePolicy of(Role role) const;
};

// A group of parameters as the optimizer treats it, of all ranks together.
struct OptimizerGroup {
  std::string name;
  int64_t tensors = 0, parameters = 0, eight_bit = 0;  // eight_bit: parameters with 8-bit states
  double rate_scale = 1, weight_decay = 0;
};

class Optimizer {
 public:
  static constexpr int64_t kBlock = Parameter::kAlignment;  // elements that share one absmax
  static constexpr int64_t kMinimum8bitSize = 4096;  // smaller tensors keep f32 states, as in bitsandbytes

  // Takes the states of what is this rank's own from the arena, category "optimizer state"; keeps copies of
  // the views in `parameters`.
  // On a planning arena only the constructor, state() and groups() may be used.
  Optimizer(const OptimizerConfig& config, const std::vector<Parameter>& parameters, Arena& arena, Ops& ops);

  // squares_g f64 [groups().size()] = sum of squares of the gradients of each group, of what is this rank's
  // own.
  void gradient_squares(Tensor squares_g);
  // Updates all weights of its own. step counts from 0, as in learning_rate() of optim/schedule.h; scale_1
  // f32 [1] multiplies the gradients; below 0 it means: change nothing.
  void step(int64_t step, double learning_rate, const Tensor& scale_1);

  // Groups of the parameters in order of first appearance.
  const std::vector<std::string>& groups() const { return groups_; }
  std::vector<OptimizerGroup> summary() const;
  // For the checkpoint, in the order of the parameters, what of it lies here. With P the name of a parameter
  // of n elements:
  //   8-bit: P.m.codes, P.v.codes u8 in P's shape;  P.m.absmax, P.v.absmax f32 [ceil(n / 256)]
  //   32-bit: P.m, P.v f32 in P's shape
  std::vector<NamedShard> state() const;

 private:
  struct Entry {
    Parameter parameter;
    Parameter::LocalShard local;
    size_t group = 0;
    bool eight_bit = false;
    Tensor m, v;                // flat, of its own; codes u8, or f32
    Tensor absmax_m, absmax_v;  // 8-bit only
  };
  // Consecutive tensors as one, flat, without the padding after the last.
  struct Span {
    Tensor weight, compute, gradient, m, v, absmax_m, absmax_v;
    bool eight_bit = false;
    RolePolicy policy;
    uint64_t stream = 0;  // of random numbers, and where in it to begin; a bf16 weight has a span of its own
    int64_t first = 0;
  };
  struct GroupGradient {
    size_t group = 0;
    Tensor gradient;
  };
  bool keeps_8bit(const Parameter& parameter) const;
  void allocate(Arena& arena);
  void join_spans();
  void join_gradients();

  OptimizerConfig config_;
  Ops& ops_;
  std::vector<std::string> groups_;
  std::vector<Entry> entries_;  // in the order of the parameters
  std::vector<Span> spans_;
  std::vector<GroupGradient> gradients_;
};

}  // namespace moe::optim
