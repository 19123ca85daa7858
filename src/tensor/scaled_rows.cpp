// SPDX-License-Identifier: MIT
#include "tensor/scaled_rows.h"

#include <string>

#include "base/error.h"

namespace moe {

void ScaledRows::check(const char* what) const {
  const int rank = value.rank();
  CHECK(is_fp8(value.dtype()) && (rank == 2 || rank == 3), std::string(what) + ": " + value.describe());
  CHECK(scale.dtype() == DType::f32 && scale.rank() == rank - 1 && scale.dim(0) == value.dim(0) &&
            scale.dim(rank - 2) == value.dim(rank - 2),
        std::string(what) + ": " + scale.describe() + " beside " + value.describe());
  const bool counted =
      census.dtype() == DType::i32 && census.has_shape({static_cast<int64_t>(Census::kEntries)});
  CHECK(census.empty() || counted, std::string(what) + ": " + census.describe());
}

}  // namespace moe
