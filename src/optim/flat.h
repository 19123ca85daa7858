// SPDX-License-Identifier: MIT
// Flat tensors behind one another, and how the states of a parameter are named and cut.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "tensor/parameter.h"

namespace moe::optim {

// Of the arena: all that is saved of optimizers.
inline constexpr const char* kStateCategory = "optimizer state";

// Groups of the parameters in order of first appearance.
inline std::vector<std::string> groups_of(const std::vector<Parameter>& parameters) {
  std::vector<std::string> groups;
  for (const Parameter& parameter : parameters)
    if (std::find(groups.begin(), groups.end(), parameter.group) == groups.end())
      groups.push_back(parameter.group);
  return groups;
}

constexpr int64_t rounded_up(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// Makes b the end of a, both flat, if it lies behind it at the next multiple of `alignment` elements.
inline bool join(Tensor& a, const Tensor& b, int64_t alignment) {
  if (a.empty() || b.empty()) return a.empty() && b.empty();
  const int64_t begin = rounded_up(a.numel(), alignment);
  const int64_t distance = static_cast<const char*>(b.data()) - static_cast<const char*>(a.data());
  if (a.dtype() != b.dtype() || distance != begin * static_cast<int64_t>(size_of(a.dtype()))) return false;
  a = Tensor(a.data(), a.dtype(), {begin + b.numel()});
  return true;
}

// The state `values` of a parameter's local shard: f32 under the name P + suffix; or codes under P + suffix
// ".codes" and absmax f32, one for each block of 256, under P + suffix ".absmax".
inline void add_state(std::vector<NamedShard>& state, const Parameter& parameter, const std::string& suffix,
                      const Tensor& values, const Tensor& absmax, bool eight_bit) {
  const Parameter::LocalShard local = parameter.local();
  const bool none = local.weight.numel() == 0;
  const int64_t begin = none ? 0 : local.offset, block = Parameter::kAlignment;
  const auto add = [&](const std::string& name, const Tensor& shape, int64_t first, const Tensor& piece) {
    state.push_back({name, shape, first, none ? Tensor(nullptr, shape.dtype(), {0}) : piece});
  };
  const Tensor whole = parameter.global_shape(eight_bit ? DType::u8 : DType::f32);
  const std::string name = parameter.name + suffix;
  add(eight_bit ? name + ".codes" : name, whole, begin, values);
  if (!eight_bit) return;
  const Tensor blocks(nullptr, DType::f32, {rounded_up(whole.numel(), block) / block});
  add(name + ".absmax", blocks, begin / block, absmax);
}

// The same with one f32 value for each row of a parameter, whose shards have whole rows.
inline void add_row_state(std::vector<NamedShard>& state, const Parameter& parameter,
                          const std::string& suffix, const Tensor& values) {
  const Parameter::LocalShard local = parameter.local();
  const bool none = local.weight.numel() == 0;
  const Tensor rows(nullptr, DType::f32, {parameter.global_shape(DType::f32).numel() / parameter.width()});
  state.push_back({parameter.name + suffix, rows, none ? 0 : local.offset / parameter.width(),
                   none ? Tensor(nullptr, DType::f32, {0}) : values});
}

}  // namespace moe::optim
