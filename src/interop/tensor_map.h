// SPDX-License-Identifier: MIT
// How our tensors and those of a family of transformers (version 5) correspond. Every tensor of theirs is a
// slice of one of ours: row by row, or in runs of rows. Two kinds are otherwise. Norm weights of Qwen3-Next
// are kept less one (theirs multiplies by 1 + weight). Where we have no shared expert, theirs has width 1 and
// is zero. Their gate_proj is our W_up and the other way round: the SiLU is on gate there, on up here.
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

  // `count` elements that follow one another in both: from `theirs` of their tensor, and from `ours` of our
  // slice, which begins at `begin`.
  struct Run {
    int64_t theirs = 0, ours = 0, count = 0;
  };
  // In the order of ours; empty: the whole tensor is one.
  std::vector<Run> runs = {};

  // An expert's matrix may lie in one tensor with those of all experts, [E, parts rows, columns]: under the
  // first of these names that is there, as this part of this expert's.
  struct Fused {
    std::vector<std::string> names;
    int64_t expert = 0, part = 0, parts = 1;
  };
  std::optional<Fused> fused = {};

  int64_t numel() const;
  std::vector<Run> in_our_order() const;
  std::vector<Run> in_their_order() const;
};

// Every tensor of theirs, in the order of the forward pass. The slices of one of ours cover it without
// overlap and come in ascending order.
std::vector<TensorMap> tensors_of(const Family& family, const model::ModelConfig& config);

// Behind the model's layers, where Family::zero_blocks asks for them; else none: a layer of linear attention
// and the block that predicts a second token (mtp.*), both of zeros. What a block adds to a token's vector is
// zero, so no logit changes. llama.cpp's converter and its program give up where a Qwen3-Next has not both.
std::vector<TensorMap> zero_blocks_of(const Family& family, const model::ModelConfig& config);
// That layer's one head and its convolution: of the published models' widths, which kernels are made for.
inline constexpr int64_t kZeroHeads = 1, kZeroHeadDim = 128, kZeroKernel = 4;

// From this layer on, files of the family may have blocks that are left out: layers that predict further
// tokens, and zero_blocks_of(). None: it has no such blocks.
std::optional<int64_t> prediction_from(const Family& family, const model::ModelConfig& config);

}  // namespace moe::interop
