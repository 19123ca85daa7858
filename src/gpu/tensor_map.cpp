// SPDX-License-Identifier: MIT
#include "gpu/tensor_map.h"

#include <cuda_runtime.h>

#include <array>

#include "base/error.h"
#include "gpu/check.h"

namespace moe::gpu {
namespace {

// From the driver, at run time: the program must also start on machines without one.
decltype(&cuTensorMapEncodeTiled) encoder() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  CUDA_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault,
                                              &found));
  CHECK(found == cudaDriverEntryPointSuccess && function != nullptr,
        "the driver has no cuTensorMapEncodeTiled");
  return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
}

}  // namespace

CUtensorMap tensor_map(const void* matrix, int64_t rows, int64_t columns, int box_rows, int64_t stride) {
  static const auto encode = encoder();
  if (stride == 0) stride = columns;
  CHECK(reinterpret_cast<uintptr_t>(matrix) % 16 == 0 && columns % 8 == 0 && rows > 0 && box_rows <= 256);
  CHECK(stride >= columns && stride % 8 == 0);
  CUtensorMap map{};
  const std::array<cuuint64_t, 2> sizes{static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const std::array<cuuint64_t, 1> row_bytes{static_cast<cuuint64_t>(stride) * 2};
  const std::array<cuuint32_t, 2> box{64, static_cast<cuuint32_t>(box_rows)};
  const std::array<cuuint32_t, 2> steps{1, 1};
  const CUresult result = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(matrix),
                                 sizes.data(), row_bytes.data(), box.data(), steps.data(),
                                 CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  CHECK(result == CUDA_SUCCESS, "cuTensorMapEncodeTiled: " + std::to_string(static_cast<int>(result)));
  return map;
}

}  // namespace moe::gpu
