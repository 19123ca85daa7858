// SPDX-License-Identifier: MIT
// Training in FP8 (docs/fp8.md): memory for what products read as such.
#pragma once

#include "tensor/arena.h"
#include "tensor/scaled_rows.h"

namespace moe::model {

ScaledRows fp8_rows(int64_t rows, int64_t columns, Arena& arena, DType type = DType::e4m3);

}  // namespace moe::model
