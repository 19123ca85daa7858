// SPDX-License-Identifier: MIT
// How our tensors and those of a family of transformers (version 5) correspond. Every tensor of theirs is a
// slice of one of ours, row by row, but for two kinds, both of Qwen3-Next alone: norm weights are kept less
// one (theirs multiplies by 1 + weight), and where we have no shared expert, theirs has width 1 and is zero.
// Their gate_proj is our W_up and the other way round: the SiLU is on gate there, on up here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "interop/family.h"
#include "model/config.h"

namespace moe::interop {

// The width of a shared expert that stands for none: a class that has one always has it.
inline constexpr int64_t kNoSharedExpert = 1;

struct TensorMap {
  enum class Kind : uint8_t { copy, norm, zero };
  std::string theirs;
  std::vector<int64_t> shape;
  std::string ours;   // "" for Kind::zero
  int64_t begin = 0;  // the first element in ours
  Kind kind = Kind::copy;
  bool keep_f32 = false;  // whatever the type of the others

  // An expert's matrix may lie in one tensor with those of all experts, [E, parts rows, columns]: under the
  // first of these names that is there, as this part of this expert's.
  struct Fused {
    std::vector<std::string> names;
    int64_t expert = 0, part = 0, parts = 1;
  };
  std::optional<Fused> fused = {};

  int64_t numel() const;
};

// Every tensor of theirs, in the order of the forward pass. The slices of one of ours cover it without
// overlap and come in ascending order.
std::vector<TensorMap> tensors_of(const Family& family, const model::ModelConfig& config);

}  // namespace moe::interop
