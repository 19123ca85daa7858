// SPDX-License-Identifier: MIT
#include "optim/adamw.h"

#include "base/random.h"
#include "optim/flat.h"

namespace moe::optim {

AdamWOptimizer::AdamWOptimizer(const OptimizerConfig& config, const std::vector<Parameter>& parameters,
                               Arena& arena, Ops& ops)
    : config_(config), ops_(ops), groups_(groups_of(parameters)) {
  for (const Parameter& parameter : parameters) {
    Entry entry;
    entry.parameter = parameter;
    entry.local = parameter.local();
    entry.eight_bit = keeps_8bit(parameter);
    entries_.push_back(std::move(entry));
  }
  allocate(arena);
  if (!arena.planning()) join_spans();
}

// By group, as the weights lie (model/weights.h).
void AdamWOptimizer::allocate(Arena& arena) {
  for (const std::string& group : groups_)
    for (const bool eight_bit : {true, false}) {
      std::vector<Entry*> members;
      int64_t total = 0;
      for (Entry& entry : entries_)
        if (entry.parameter.group == group && entry.eight_bit == eight_bit &&
            entry.local.weight.numel() > 0) {
          members.push_back(&entry);
          total += rounded_up(entry.local.weight.numel(), kBlock);
        }
      if (members.empty()) continue;
      const auto take = [&](DType dtype, int64_t n) { return arena.allocate(kStateCategory, dtype, {n}); };
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

void AdamWOptimizer::join_spans() {
  for (const std::string& group : groups_)
    for (const bool eight_bit : {true, false})
      for (const Entry& entry : entries_) {
        const Parameter::LocalShard& local = entry.local;
        if (entry.parameter.group != group || entry.eight_bit != eight_bit || local.weight.numel() == 0)
          continue;
        // A parameter without a copy of its own has nothing more to write.
        const Span span{local.weight,
                        local.is_copied() ? local.compute : Tensor(),
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

bool AdamWOptimizer::keeps_8bit(const Parameter& parameter) const {
  return parameter.global_shape(DType::u8).numel() >= kMinimum8bitSize &&
         config_.of(parameter.role).eight_bit;
}

void AdamWOptimizer::step(const Update& update, const Tensor& scale_1) {
  AdamW options;
  options.beta1 = static_cast<float>(config_.beta1);
  options.beta2 = static_cast<float>(config_.beta2);
  options.epsilon = static_cast<float>(config_.epsilon);
  options.step = update.count + 1;
  options.order = config_.order;
  options.cautious = config_.cautious_decay;
  options.seed = config_.seed;
  for (const Span& span : spans_) {
    options.learning_rate = static_cast<float>(update.learning_rate * span.policy.rate_scale);
    options.weight_decay = static_cast<float>(span.policy.weight_decay * update.decay_scale);
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

std::vector<NamedShard> AdamWOptimizer::state() const {
  std::vector<NamedShard> state;
  for (const Entry& entry : entries_) {
    add_state(state, entry.parameter, ".m", entry.m, entry.absmax_m, entry.eight_bit);
    add_state(state, entry.parameter, ".v", entry.v, entry.absmax_v, entry.eight_bit);
  }
  return state;
}

}  // namespace moe::optim
