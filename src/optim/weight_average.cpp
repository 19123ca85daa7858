// SPDX-License-Identifier: MIT
#include "optim/weight_average.h"

#include <algorithm>

#include "base/error.h"

namespace moe::optim {

WeightAverage::WeightAverage(double decay, const std::vector<Parameter>& parameters, Arena& arena)
    : decay_(decay) {
  if (!enabled()) return;
  for (const Parameter& parameter : parameters) {
    const Parameter::LocalShard local = parameter.local();
    CHECK(local.weight.dtype() == DType::f32, parameter.name);
    const int64_t n = local.weight.numel();
    const Tensor average =
        n == 0 ? Tensor(nullptr, DType::f32, {0}) : arena.allocate("average of weights", DType::f32, {n});
    entries_.push_back(
        {{parameter.name, parameter.global_shape(DType::f32), n == 0 ? 0 : local.offset, average},
         local.weight});
  }
}

void WeightAverage::begin(Ops& ops) const {
  for (const Entry& entry : entries_)
    if (entry.weight.numel() > 0) ops.copy(entry.average.local, entry.weight);
}

void WeightAverage::update(int64_t n, Ops& ops) const {
  const double warm = static_cast<double>(1 + n) / static_cast<double>(10 + n);
  const auto share = static_cast<float>(1 - std::min(decay_, warm));
  for (const Entry& entry : entries_)
    if (entry.weight.numel() > 0) ops.average(entry.average.local, entry.weight, share);
}

std::vector<NamedShard> WeightAverage::state() const {
  std::vector<NamedShard> state;
  for (const Entry& entry : entries_) state.push_back(entry.average);
  return state;
}

}  // namespace moe::optim
