// SPDX-License-Identifier: MIT
#include "emulated_cuda/cuda.h"

#include <cstring>

#include "emulated_cuda/cuda_runtime.h"

CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* address,
                                const cuuint64_t* sizes, const cuuint64_t* strides, const cuuint32_t* box,
                                const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                                CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  const uint32_t bytes = type == CU_TENSOR_MAP_DATA_TYPE_FLOAT32 ? 4 : 2;
  const bool matrices = rank == 3 && strides[1] % 16 == 0 && sizes[2] > 0 && box[2] == 1;
  const bool legal = (rank == 2 || matrices) && reinterpret_cast<uintptr_t>(address) % 16 == 0 &&
                     strides[0] % 16 == 0 && box[0] * bytes == 128 && box[1] >= 1 && box[1] <= 256 &&
                     sizes[0] > 0 && sizes[1] > 0;
  if (!legal) return CUDA_ERROR_INVALID_VALUE;
  *map = {static_cast<const unsigned char*>(address),
          sizes[0],
          sizes[1],
          strides[0],
          matrices ? sizes[2] : 1,
          matrices ? strides[1] : 0,
          box[0],
          box[1],
          bytes};
  return CUDA_SUCCESS;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* found) {
  const bool known = std::strcmp(name, "cuTensorMapEncodeTiled") == 0;
  *function = known ? reinterpret_cast<void*>(&cuTensorMapEncodeTiled) : nullptr;
  *found = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
