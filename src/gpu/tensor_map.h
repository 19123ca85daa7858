// SPDX-License-Identifier: MIT
// What Hopper's TMA must know of a matrix in global memory: passed to kernels by value, as __grid_constant__.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "tensor/dtype.h"

namespace moe::gpu {

// Of a row-major matrix [rows, columns] of bf16 or f16: boxes of box_rows rows of 64 columns, swizzled by 128
// bytes. Elements outside the matrix read as zero. The address is a multiple of 16 bytes, columns of 8
// elements. stride: elements from a row to the next, a multiple of 8; 0: `columns`.
CUtensorMap tensor_map(DType type, const void* matrix, int64_t rows, int64_t columns, int box_rows,
                       int64_t stride = 0);

// Of `count` row-major f32 matrices [rows, columns], one behind the other: boxes of box_rows rows of 32
// columns of one of them, swizzled likewise. The address is a multiple of 16 bytes, columns of 4 elements.
CUtensorMap tensor_map_f32(const void* matrices, int64_t count, int64_t rows, int64_t columns, int box_rows);

}  // namespace moe::gpu
