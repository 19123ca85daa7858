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

cuuint64_t unsigned_of(int64_t x) {
  CHECK(x > 0);
  return static_cast<cuuint64_t>(x);
}

CUtensorMapDataType type_of(DType type) {
  CHECK(type == DType::bf16 || type == DType::f16);
  return type == DType::bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
}

// Sizes in elements, from the innermost; bytes from one to the next in each dimension but that.
template <int rank>
CUtensorMap encode(CUtensorMapDataType type, const void* address, const std::array<cuuint64_t, rank>& sizes,
                   const std::array<cuuint64_t, rank - 1>& strides, const std::array<cuuint32_t, rank>& box) {
  static const auto function = encoder();
  CHECK(reinterpret_cast<uintptr_t>(address) % 16 == 0 && box[1] > 0 && box[1] <= 256);
  std::array<cuuint32_t, rank> steps;
  steps.fill(1);
  CUtensorMap map{};
  const CUresult result =
      function(&map, type, rank, const_cast<void*>(address), sizes.data(), strides.data(), box.data(),
               steps.data(), CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
               CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  CHECK(result == CUDA_SUCCESS, "cuTensorMapEncodeTiled: " + std::to_string(static_cast<int>(result)));
  return map;
}

}  // namespace

CUtensorMap tensor_map(DType type, const void* matrix, int64_t rows, int64_t columns, int box_rows,
                       int64_t stride) {
  if (stride == 0) stride = columns;
  CHECK(columns % 8 == 0 && stride >= columns && stride % 8 == 0);
  return encode<2>(type_of(type), matrix, {unsigned_of(columns), unsigned_of(rows)},
                   {unsigned_of(stride) * 2}, {64, static_cast<cuuint32_t>(box_rows)});
}

CUtensorMap tensor_map_f32(const void* matrices, int64_t count, int64_t rows, int64_t columns, int box_rows) {
  CHECK(columns % 4 == 0);
  return encode<3>(CU_TENSOR_MAP_DATA_TYPE_FLOAT32, matrices,
                   {unsigned_of(columns), unsigned_of(rows), unsigned_of(count)},
                   {unsigned_of(columns) * 4, unsigned_of(rows * columns) * 4},
                   {32, static_cast<cuuint32_t>(box_rows), 1});
}

}  // namespace moe::gpu
