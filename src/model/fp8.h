// SPDX-License-Identifier: MIT
// Training in FP8 (docs/fp8.md): memory for what products read as such, and what became of it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "tensor/arena.h"
#include "tensor/scaled_rows.h"

namespace moe::model {

ScaledRows fp8_rows(int64_t rows, int64_t columns, Arena& arena, DType type = DType::e4m3);

// What is quantised in each micro-batch, by layer; the last two, and the gradients of packed projections of
// all layers together, belong to none.
enum class Fp8Site : uint8_t {
  attention_input,
  attention_output,
  expert_input,
  residual_gradient,
  projection_gradient,
  features,
  logits_gradient,
  kCount
};
inline constexpr std::array<std::string_view, static_cast<size_t>(Fp8Site::kCount)> kFp8Sites{
    "attention_input",     "attention_output", "expert_input",   "residual_gradient",
    "projection_gradient", "features",         "logits_gradient"};

// The census (tensor/scaled_rows.h) of each place, of one micro-batch: i32 [L + 1, sites, 4].
struct Fp8Census {
  Fp8Census() = default;
  Fp8Census(int64_t layers, Arena& arena);
  // layer: kNoLayer for what belongs to none.
  Tensor of(int64_t layer, Fp8Site site) const;
  Tensor all;
};

}  // namespace moe::model
