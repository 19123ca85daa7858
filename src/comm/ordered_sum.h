// SPDX-License-Identifier: MIT
// The one body of sums over ranks on the host: in the order of the ranks, so that the bits depend on nothing
// else.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace moe::comm {

class Communicator;

// sum[i] = terms[0][i] + terms[1][i] + ..., i < n; f32, f64 and i32 in their own type, bf16 in f32 and
// rounded once. sum may be one of the terms.
void ordered_sum(void* sum, std::span<const void* const> terms, int64_t n, DType type);

// values = the sums of all ranks' values, on all of them. Called by all with as many.
void add_up_ranks(std::span<double> values, Communicator& ranks);

}  // namespace moe::comm
