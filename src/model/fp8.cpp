// SPDX-License-Identifier: MIT
#include "model/fp8.h"

#include "tensor/parameter.h"

namespace moe::model {

ScaledRows fp8_rows(int64_t rows, int64_t columns, Arena& arena, DType type) {
  const char* const what = "activations: fp8";
  return {arena.allocate(what, type, {rows, columns}), arena.allocate(what, DType::f32, {rows})};
}

Fp8Census::Fp8Census(int64_t layers, Arena& arena)
    : all(arena.allocate("small", DType::i32,
                         {layers + 1, std::ssize(kFp8Sites), static_cast<int64_t>(Census::kEntries)})) {}

Tensor Fp8Census::of(int64_t layer, Fp8Site site) const {
  const int64_t entry = layer == kNoLayer ? all.dim(0) - 1 : layer, at = static_cast<int64_t>(site);
  return all.rows(entry, entry + 1).reshape({all.dim(1), all.dim(2)}).rows(at, at + 1).reshape({all.dim(2)});
}

}  // namespace moe::model
