// SPDX-License-Identifier: MIT
// The second half of a product that was cut along its inner dimension.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "tensor/dtype.h"

namespace moe::gpu {

// c[i] = (accumulate ? c[i] : 0) + parts[0][i] + parts[1][i] + ... in this order, rounded once. parts: f32,
// `count` rows of `elements`; c: any type of activations.
void add_parts(cudaStream_t stream, void* c, DType type, const void* parts, int64_t count, int64_t elements,
               bool accumulate);

}  // namespace moe::gpu
