// SPDX-License-Identifier: MIT
#include "optim/adamw.h"

#include <algorithm>

#include "base/error.h"

namespace moe {
namespace {

constexpr const char* kCategory = "optimizer state";

Tensor flat(const Tensor& tensor) {
  return tensor.reshape({tensor.numel()});
}

}  // namespace

Optimizer::Optimizer(const OptimizerConfig& config, const std::vector<Parameter>& parameters, Arena& arena,
                     Ops& ops)
    : config_(config), ops_(ops) {
  for (const Parameter& parameter : parameters) {
    const Tensor& weight = parameter.weight;
    const std::vector<int64_t> shape(weight.shape(), weight.shape() + weight.rank());
    auto group = std::find(groups_.begin(), groups_.end(), parameter.group);
    if (group == groups_.end()) group = groups_.insert(group, parameter.group);

    Entry entry;
    entry.parameter = parameter;
    entry.group = static_cast<size_t>(group - groups_.begin());
    entry.eight_bit = keeps_8bit(parameter);
    const DType dtype = entry.eight_bit ? DType::u8 : DType::f32;
    entry.m = arena.allocate(kCategory, dtype, shape);
    entry.v = arena.allocate(kCategory, dtype, shape);
    if (entry.eight_bit) {
      const int64_t blocks = (weight.numel() + kBlock - 1) / kBlock;
      entry.absmax_m = arena.allocate(kCategory, DType::f32, {blocks});
      entry.absmax_v = arena.allocate(kCategory, DType::f32, {blocks});
    }
    entries_.push_back(std::move(entry));
  }
}

bool Optimizer::keeps_8bit(const Parameter& parameter) const {
  if (!config_.eight_bit || parameter.weight.numel() < kMinimum8bitSize) return false;
  if (parameter.group == "embedding") return config_.embedding_8bit;
  if (parameter.group == "router") return config_.router_8bit;
  return true;
}

void Optimizer::gradient_squares(Tensor squares_g) {
  CHECK(squares_g.has_shape({std::ssize(groups_)}) && squares_g.dtype() == DType::f64, squares_g.describe());
  ops_.fill(squares_g, 0);
  for (const Entry& entry : entries_) {
    const auto slot = static_cast<int64_t>(entry.group);
    ops_.sum_squares(squares_g.rows(slot, slot + 1), entry.parameter.gradient);
  }
}

void Optimizer::step(int64_t step, double learning_rate, const Tensor& scale_1) {
  CHECK(step >= 0);
  AdamW options;
  options.learning_rate = static_cast<float>(learning_rate);
  options.beta1 = static_cast<float>(config_.beta1);
  options.beta2 = static_cast<float>(config_.beta2);
  options.epsilon = static_cast<float>(config_.epsilon);
  options.step = step + 1;
  options.order = config_.order;
  for (const Entry& entry : entries_) {
    const Parameter& parameter = entry.parameter;
    options.weight_decay = parameter.decays ? static_cast<float>(config_.weight_decay) : 0;
    // A parameter without its own rounded copy reads its master: there is nothing to write then.
    const bool rounded = !parameter.compute.empty() && parameter.compute.dtype() != DType::f32;
    const Tensor compute = rounded ? flat(parameter.compute) : Tensor{};
    const Tensor weight = flat(parameter.weight), gradient = flat(parameter.gradient);
    if (entry.eight_bit) {
      ops_.adamw8(weight, compute, gradient, flat(entry.m), flat(entry.v), entry.absmax_m, entry.absmax_v,
                  scale_1, options);
    } else {
      ops_.adamw32(weight, compute, gradient, flat(entry.m), flat(entry.v), scale_1, options);
    }
  }
}

std::vector<NamedTensor> Optimizer::state() const {
  std::vector<NamedTensor> state;
  for (const Entry& entry : entries_) {
    const std::string& name = entry.parameter.name;
    if (entry.eight_bit) {
      state.push_back({name + ".m.codes", entry.m});
      state.push_back({name + ".m.absmax", entry.absmax_m});
      state.push_back({name + ".v.codes", entry.v});
      state.push_back({name + ".v.absmax", entry.absmax_v});
    } else {
      state.push_back({name + ".m", entry.m});
      state.push_back({name + ".v", entry.v});
    }
  }
  return state;
}

}  // namespace moe
