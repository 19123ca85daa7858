// SPDX-License-Identifier: MIT
// Products of a few rows with a matrix whose rows are dotted with them: what generation of one text is made
// of. Such a product takes as long as the matrix takes to be read; the library packs it first, which costs
// many times that. Internal to cpu/; docs/decisions/0001-cpu-matrix-products.md has the comparison.
#pragma once

#include <cstdint>

#include "cpu/gemm.h"

namespace moe::cpu {

inline constexpr int64_t kFewRows = 4;

inline bool has_few_rows(const Product& p) {
  return p.m <= kFewRows && !p.a_transposed && p.b_transposed;
}

// Only of products that have few rows.
void multiply_few_rows(const Product& p);

}  // namespace moe::cpu
