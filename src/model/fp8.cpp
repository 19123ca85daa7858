// SPDX-License-Identifier: MIT
#include "model/fp8.h"

namespace moe::model {

ScaledRows fp8_rows(int64_t rows, int64_t columns, Arena& arena, DType type) {
  const char* const what = "activations: fp8";
  return {arena.allocate(what, type, {rows, columns}), arena.allocate(what, DType::f32, {rows})};
}

}  // namespace moe::model
