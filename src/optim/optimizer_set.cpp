// SPDX-License-Identifier: MIT
#include "optim/optimizer_set.h"

#include <algorithm>

#include "base/error.h"
#include "optim/flat.h"

namespace moe::optim {

OptimizerSet::OptimizerSet(const OptimizerConfig& config, const std::vector<Parameter>& parameters,
                           Arena& arena, Ops& ops)
    : config_(config),
      ops_(ops),
      parameters_(parameters),
      groups_(groups_of(parameters)),
      adamw_(config, of(Algorithm::adamw), arena, ops),
      muon_(config, of(Algorithm::muon), arena, ops) {
  if (!arena.planning()) join_gradients();
}

std::vector<Parameter> OptimizerSet::of(Algorithm algorithm) const {
  std::vector<Parameter> chosen;
  for (const Parameter& parameter : parameters_)
    if (config_.of(parameter.role).algorithm == algorithm) chosen.push_back(parameter);
  return chosen;
}

size_t OptimizerSet::group_of(const Parameter& parameter) const {
  return static_cast<size_t>(std::find(groups_.begin(), groups_.end(), parameter.group) - groups_.begin());
}

void OptimizerSet::join_gradients() {
  for (size_t group = 0; group < groups_.size(); ++group)
    for (const Parameter& parameter : parameters_) {
      const Tensor gradient = parameter.local().gradient;
      if (group_of(parameter) != group || gradient.numel() == 0) continue;
      if (gradients_.empty() || gradients_.back().group != group ||
          !join(gradients_.back().gradient, gradient, Parameter::kAlignment))
        gradients_.push_back({group, gradient});
    }
}

std::vector<OptimizerGroup> OptimizerSet::summary() const {
  std::vector<OptimizerGroup> groups;
  for (const std::string& name : groups_) groups.push_back({.name = name});
  for (const Parameter& parameter : parameters_) {
    OptimizerGroup& group = groups[group_of(parameter)];
    const int64_t n = parameter.global_shape(DType::u8).numel();
    const RolePolicy policy = config_.of(parameter.role);
    const bool eight_bit =
        policy.algorithm == Algorithm::muon ? muon_.keeps_8bit(parameter) : adamw_.keeps_8bit(parameter);
    group.tensors += 1;
    group.parameters += n;
    group.eight_bit += eight_bit ? n : 0;
    group.algorithm = policy.algorithm;  // a group has one role
    group.rate_scale = policy.rate_scale;
    group.weight_decay = policy.weight_decay;
  }
  return groups;
}

void OptimizerSet::gradient_squares(Tensor squares_g) {
  CHECK(squares_g.has_shape({std::ssize(groups_)}) && squares_g.dtype() == DType::f64, squares_g.describe());
  ops_.fill(squares_g, 0);
  for (const auto& [group, gradient] : gradients_) {
    const auto slot = static_cast<int64_t>(group);
    ops_.sum_squares(squares_g.rows(slot, slot + 1), gradient);
  }
}

void OptimizerSet::step(const Update& update, const Tensor& scale_1) {
  CHECK(update.count >= 0);
  adamw_.step(update, scale_1);
  muon_.step(update, scale_1);
}

std::vector<NamedShard> OptimizerSet::state() const {
  std::vector<NamedShard> state = adamw_.state();
  for (NamedShard& shard : muon_.state()) state.push_back(std::move(shard));
  return state;
}

}  // namespace moe::optim
