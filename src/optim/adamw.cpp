// SPDX-License-Identifier: MIT
#include "optim/adamw.h"

#include <algorithm>

#include "base/error.h"
#include "base/random.h"

namespace moe::optim {
namespace {

constexpr const char* kCategory = "optimizer state";

int64_t rounded_up(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// Makes b the end of a, both flat, if it lies behind it at the next multiple of `alignment` elements.
bool join(Tensor& a, const Tensor& b, int64_t alignment) {
  if (a.empty() || b.empty()) return a.empty() && b.empty();
  const int64_t begin = rounded_up(a.numel(), alignment);
  const int64_t distance = static_cast<const char*>(b.data()) - static_cast<const char*>(a.data());
  if (a.dtype() != b.dtype() || distance != begin * static_cast<int64_t>(size_of(a.dtype()))) return false;
  a = Tensor(a.data(), a.dtype(), {begin + b.numel()});
  return true;
}

}  // namespace

RolePolicy OptimizerConfig::of(Role role) const {
  switch (role) {
    case Role::embedding:
      return {eight_bit && embedding_8bit, embedding_rate_scale, embedding_decays ? weight_decay : 0};
    case Role::head:
      return {eight_bit, head_rate_scale, weight_decay};
    case Role::router:
      return {eight_bit && router_8bit, router_rate_scale, router_decays ? weight_decay : 0};
    case Role::norm:
      return {eight_bit, norm_rate_scale, 0};
    case Role::matrix:
    case Role::expert:
      return {eight_bit, 1, weight_decay};
  }
  CHECK(false, "a role without a policy");
}

Optimizer::Optimizer(const OptimizerConfig& config, const std::vector<Parameter>& parameters, Arena& arena,
                     Ops& ops)
    : config_(config), ops_(ops) {
  for (const Parameter& parameter : parameters) {
    auto group = std::find(groups_.begin(), groups_.end(), parameter.group);
    if (group == groups_.end()) group = groups_.insert(group, parameter.group);
    Entry entry;
    entry.parameter = parameter;
    entry.local = parameter.local();
    entry.group = static_cast<size_t>(group - groups_.begin());
    entry.eight_bit = keeps_8bit(parameter);
    entries_.push_back(std::move(entry));
  }
  allocate(arena);
  if (arena.planning()) return;
  join_spans();
  join_gradients();
}

// By group, as the weights lie (model/weights.h).
void Optimizer::allocate(Arena& arena) {
  for (size_t group = 0; group < groups_.size(); ++group)
    for (const bool eight_bit : {true, false}) {
      std::vector<Entry*> members;
      int64_t total = 0;
      for (Entry& entry : entries_)
        if (entry.group == group && entry.eight_bit == eight_bit && entry.local.weight.numel() > 0) {
          members.push_back(&entry);
          total += rounded_up(entry.local.weight.numel(), kBlock);
        }
      if (members.empty()) continue;
      const auto take = [&](DType dtype, int64_t n) { return arena.allocate(kCategory, dtype, {n}); };
      const DType dtype = eight_bit ? DType::u8 : DType::f32;
      const Tensor m = take(dtype, total), v = take(dtype, total);
      const Tensor absmax_m = eight_bit ? take(DType::f32, total / kBlock) : Tensor(),
                   absmax_v = eight_bit ? take(DType::f32, total / kBlock) : Tensor();
      int64_t at = 0;
      for (Entry* entry : members) {
        const int64_t n = entry->local.weight.numel(), end = at + rounded_up(n, kBlock);
        entry->m = m.rows(at, at + n);
        entry->v = v.rows(at, at + n);
        if (eight_bit) {
          entry->absmax_m = absmax_m.rows(at / kBlock, end / kBlock);
          entry->absmax_v = absmax_v.rows(at / kBlock, end / kBlock);
        }
        at = end;
      }
    }
}

void Optimizer::join_spans() {
  for (size_t group = 0; group < groups_.size(); ++group)
    for (const bool eight_bit : {true, false})
      for (const Entry& entry : entries_) {
        const Parameter::LocalShard& local = entry.local;
        if (entry.group != group || entry.eight_bit != eight_bit || local.weight.numel() == 0) continue;
        // A parameter without a copy of its own has nothing more to write.
        const bool copied = !local.compute.empty() && local.compute.data() != local.weight.data();
        const Span span{local.weight,
                        copied ? local.compute : Tensor(),
                        local.gradient,
                        entry.m,
                        entry.v,
                        entry.absmax_m,
                        entry.absmax_v,
                        eight_bit,
                        config_.of(entry.parameter.role),
                        stream_id("round/" + entry.parameter.name),
                        local.offset};
        if (!spans_.empty() && local.weight.dtype() == DType::f32) {
          Span joined = spans_.back();
          if (joined.eight_bit == eight_bit && joined.policy == span.policy &&
              join(joined.weight, span.weight, kBlock) && join(joined.compute, span.compute, kBlock) &&
              join(joined.gradient, span.gradient, kBlock) && join(joined.m, span.m, kBlock) &&
              join(joined.v, span.v, kBlock) && join(joined.absmax_m, span.absmax_m, 1) &&
              join(joined.absmax_v, span.absmax_v, 1)) {
            spans_.back() = joined;
            continue;
          }
        }
        spans_.push_back(span);
      }
}

void Optimizer::join_gradients() {
  for (size_t group = 0; group < groups_.size(); ++group)
    for (const Entry& entry : entries_) {
      const Tensor& gradient = entry.local.gradient;
      if (entry.group != group || gradient.numel() == 0) continue;
      if (gradients_.empty() || gradients_.back().group != group ||
          !join(gradients_.back().gradient, gradient, kBlock))
        gradients_.push_back({group, gradient});
    }
}

bool Optimizer::keeps_8bit(const Parameter& parameter) const {
  return parameter.global_shape(DType::u8).numel() >= kMinimum8bitSize &&
         config_.of(parameter.role).eight_bit;
}

std::vector<OptimizerGroup> Optimizer::summary() const {
  std::vector<OptimizerGroup> groups;
  for (const std::string& name : groups_) groups.push_back({.name = name});
  for (const Entry& entry : entries_) {
    OptimizerGroup& group = groups[entry.group];
    const int64_t n = entry.parameter.global_shape(DType::u8).numel();
    const RolePolicy policy = config_.of(entry.parameter.role);
    group.tensors += 1;
    group.parameters += n;
    group.eight_bit += entry.eight_bit ? n : 0;
    group.rate_scale = policy.rate_scale;  // a group has one role
    group.weight_decay = policy.weight_decay;
  }
  return groups;
}

void Optimizer::gradient_squares(Tensor squares_g) {
  CHECK(squares_g.has_shape({std::ssize(groups_)}) && squares_g.dtype() == DType::f64, squares_g.describe());
  ops_.fill(squares_g, 0);
  for (const auto& [group, gradient] : gradients_) {
    const auto slot = static_cast<int64_t>(group);
    ops_.sum_squares(squares_g.rows(slot, slot + 1), gradient);
  }
}

void Optimizer::step(int64_t step, double learning_rate, const Tensor& scale_1) {
  CHECK(step >= 0);
  AdamW options;
  options.beta1 = static_cast<float>(config_.beta1);
  options.beta2 = static_cast<float>(config_.beta2);
  options.epsilon = static_cast<float>(config_.epsilon);
  options.step = step + 1;
  options.order = config_.order;
  options.seed = config_.seed;
  for (const Span& span : spans_) {
    options.learning_rate = static_cast<float>(learning_rate * span.policy.rate_scale);
    options.weight_decay = static_cast<float>(span.policy.weight_decay);
    options.stream = span.stream;
    options.first = span.first;
    // The operations write copies in bf16 on their way; one in f16 is a pass of its own.
    const bool in_f16 = !span.compute.empty() && span.compute.dtype() == DType::f16;
    const Tensor compute = in_f16 ? Tensor() : span.compute;
    if (span.eight_bit)
      ops_.adamw8({.weight = span.weight,
                   .compute = compute,
                   .code_m = span.m,
                   .code_v = span.v,
                   .absmax_m = span.absmax_m,
                   .absmax_v = span.absmax_v,
                   .gradient = span.gradient,
                   .scale_1 = scale_1,
                   .options = options});
    else
      ops_.adamw32({.weight = span.weight,
                    .compute = compute,
                    .m = span.m,
                    .v = span.v,
                    .gradient = span.gradient,
                    .scale_1 = scale_1,
                    .options = options});
    if (in_f16) ops_.cast(span.compute, span.weight);
  }
}

std::vector<NamedShard> Optimizer::state() const {
  std::vector<NamedShard> state;
  for (const Entry& entry : entries_) {
    const bool none = entry.local.weight.numel() == 0;
    const Tensor whole = entry.parameter.global_shape(entry.eight_bit ? DType::u8 : DType::f32);
    const int64_t begin = none ? 0 : entry.local.offset, blocks = rounded_up(whole.numel(), kBlock) / kBlock;
    const auto add = [&](const char* suffix, const Tensor& shape, int64_t first, const Tensor& piece) {
      state.push_back(
          {entry.parameter.name + suffix, shape, first, none ? Tensor(nullptr, shape.dtype(), {0}) : piece});
    };
    const auto add_absmax = [&](const char* suffix, const Tensor& piece) {
      if (entry.eight_bit) add(suffix, Tensor(nullptr, DType::f32, {blocks}), begin / kBlock, piece);
    };
    add(entry.eight_bit ? ".m.codes" : ".m", whole, begin, entry.m);
    add_absmax(".m.absmax", entry.absmax_m);
    add(entry.eight_bit ? ".v.codes" : ".v", whole, begin, entry.v);
    add_absmax(".v.absmax", entry.absmax_v);
  }
  return state;
}

}  // namespace moe::optim
