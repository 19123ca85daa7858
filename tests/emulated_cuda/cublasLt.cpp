// SPDX-License-Identifier: MIT
#include "emulated_cuda/cublasLt.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/fp8.h"
#include "emulated_cuda/cuda_bf16.h"
#include "emulated_cuda/cuda_fp16.h"
#include "gpu/libraries.h"

namespace {

bool is_fp8(cudaDataType_t type) {
  return type == CUDA_R_8F_E4M3 || type == CUDA_R_8F_E5M2;
}

// That matrix of a batch.
const void* matrix_of(const void* batch, const cublasLtMatrixLayoutOpaque_t& layout, int32_t i) {
  const int64_t bytes = layout.type == CUDA_R_32F ? 4 : is_fp8(layout.type) ? 1 : 2;
  return static_cast<const char*>(batch) + i * layout.stride * bytes;
}

float element(const void* matrix, cudaDataType_t type, uint64_t i) {
  if (type == CUDA_R_32F) return static_cast<const float*>(matrix)[i];
  if (type == CUDA_R_8F_E4M3) return moe::fp8_value<moe::kE4M3>(static_cast<const uint8_t*>(matrix)[i]);
  if (type == CUDA_R_8F_E5M2) return moe::fp8_value<moe::kE5M2>(static_cast<const uint8_t*>(matrix)[i]);
  if (type == CUDA_R_16F) return __half2float(static_cast<const __half*>(matrix)[i]);
  return __bfloat162float(static_cast<const __nv_bfloat16*>(matrix)[i]);
}

// The rows of the matrix, or its columns, one after another. tf32: the lower bits are cut off, which is the
// coarsest that a matrix unit may do.
std::vector<float> lines(const void* matrix, const cublasLtMatrixLayoutOpaque_t& layout, bool rows,
                         bool tf32) {
  const uint64_t count = rows ? layout.rows : layout.columns, length = rows ? layout.columns : layout.rows;
  const auto leading = static_cast<uint64_t>(layout.leading);
  std::vector<float> result;
  result.reserve(count * length);
  for (uint64_t i = 0; i < count; ++i)
    for (uint64_t j = 0; j < length; ++j) {
      const float value = element(matrix, layout.type, rows ? i + j * leading : j + i * leading);
      result.push_back(tf32 ? std::bit_cast<float>(std::bit_cast<uint32_t>(value) & ~0x1FFFU) : value);
    }
  return result;
}

void multiply(const cublasLtMatmulDescOpaque_t& desc, float alpha, const void* a,
              const cublasLtMatrixLayoutOpaque_t& a_layout, const void* b,
              const cublasLtMatrixLayoutOpaque_t& b_layout, float beta, const void* c, void* d,
              const cublasLtMatrixLayoutOpaque_t& layout) {
  const uint64_t inner = desc.a == CUBLAS_OP_N ? a_layout.columns : a_layout.rows;
  const bool tf32 = desc.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  const std::vector<float> left = lines(a, a_layout, desc.a == CUBLAS_OP_N, tf32);
  const std::vector<float> right = lines(b, b_layout, desc.b != CUBLAS_OP_N, tf32);
  for (uint64_t column = 0; column < layout.columns; ++column)
    for (uint64_t row = 0; row < layout.rows; ++row) {
      double sum = 0;
      for (uint64_t k = 0; k < inner; ++k)
        sum += static_cast<double>(left[row * inner + k]) * static_cast<double>(right[column * inner + k]);
      const uint64_t i = row + column * static_cast<uint64_t>(layout.leading);
      if (desc.a_scale != nullptr) sum *= static_cast<double>(desc.a_scale[row]);
      if (desc.b_scale != nullptr) sum *= static_cast<double>(desc.b_scale[column]);
      float value = alpha * static_cast<float>(sum);
      if (beta != 0) value += beta * element(c, layout.type, i);
      if (layout.type == CUDA_R_32F)
        static_cast<float*>(d)[i] = value;
      else if (layout.type == CUDA_R_16F)
        static_cast<__half*>(d)[i] = __float2half_rn(value);
      else
        static_cast<__nv_bfloat16*>(d)[i] = __float2bfloat16_rn(value);
    }
}

}  // namespace

size_t cublasLtGetVersion() {
  return 130000;
}
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,
                                        cudaDataType_t) {
  *desc = new cublasLtMatmulDescOpaque_t{compute};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              size_t bytes) {
  const auto set = [&](auto& member) {
    if (bytes != sizeof(member)) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&member, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
  };
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return set(desc->a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return set(desc->b);
    case CUBLASLT_MATMUL_DESC_A_SCALE_POINTER:
      return set(desc->a_scale);
    case CUBLASLT_MATMUL_DESC_B_SCALE_POINTER:
      return set(desc->b_scale);
    case CUBLASLT_MATMUL_DESC_FAST_ACCUM:
      return set(desc->fast);
    case CUBLASLT_MATMUL_DESC_A_SCALE_MODE:
      return set(desc->a_mode);
    case CUBLASLT_MATMUL_DESC_B_SCALE_MODE:
      return set(desc->b_mode);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, uint64_t rows,
                                          uint64_t columns, int64_t leading) {
  *layout = new cublasLtMatrixLayoutOpaque_t{type, rows, columns, leading};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                                                size_t bytes) {
  const bool count = attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT;
  if (bytes != (count ? sizeof(layout->batch) : sizeof(layout->stride))) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(count ? static_cast<void*>(&layout->batch) : &layout->stride, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t, const void*,
                                                    size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int most,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  *found = std::min(most, static_cast<int>(kEmulatedAlgorithms));  // two: the choice between them is made
  for (int i = 0; i < *found; ++i) results[i] = {{{static_cast<uint64_t>(i)}}, 0, CUBLAS_STATUS_SUCCESS, 0};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                       const cublasLtMatmulAlgo_t* algorithm,
                                       cublasLtMatmulHeuristicResult_t* result) {
  *result = {*algorithm, 0, CUBLAS_STATUS_SUCCESS, 0};
  if (is_fp8(a->type) && (desc->a_scale == nullptr || desc->b_scale == nullptr))
    return CUBLAS_STATUS_INVALID_VALUE;
  return algorithm->data[0] < kEmulatedAlgorithms ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algorithm, void*,
                              size_t, cudaStream_t stream) {
  if (algorithm->data[0] >= kEmulatedAlgorithms) return CUBLAS_STATUS_NOT_SUPPORTED;
  const uint64_t inner_a = desc->a == CUBLAS_OP_N ? a_layout->columns : a_layout->rows;
  const uint64_t inner_b = desc->b == CUBLAS_OP_N ? b_layout->rows : b_layout->columns;
  const uint64_t rows = desc->a == CUBLAS_OP_N ? a_layout->rows : a_layout->columns;
  const uint64_t columns = desc->b == CUBLAS_OP_N ? b_layout->columns : b_layout->rows;
  if (inner_a != inner_b || rows != d_layout->rows || columns != d_layout->columns || c_layout != d_layout ||
      a_layout->batch != d_layout->batch || b_layout->batch != d_layout->batch)
    return CUBLAS_STATUS_INVALID_VALUE;
  const bool fp8 = is_fp8(a_layout->type);
  if (fp8 != is_fp8(b_layout->type) || fp8 != (desc->a_scale != nullptr) || fp8 != (desc->b_scale != nullptr))
    return CUBLAS_STATUS_INVALID_VALUE;
  const auto aligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  if (fp8 && !(aligned(a) && aligned(b) && aligned(desc->a_scale) && aligned(desc->b_scale)))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  // As Hopper has it: both operands by rows, with a scale for each, and one of them at most in E5M2.
  if (fp8 && (desc->a != CUBLAS_OP_T || desc->b != CUBLAS_OP_N || inner_a % 16 != 0 || rows % 16 != 0 ||
              desc->a_mode != CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F || desc->b_mode != desc->a_mode ||
              (a_layout->type == CUDA_R_8F_E5M2 && b_layout->type == CUDA_R_8F_E5M2)))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  emulated_cuda::enqueue(
      stream, [desc = *desc, alpha = *static_cast<const float*>(alpha), a, a_layout = *a_layout, b,
               b_layout = *b_layout, beta = *static_cast<const float*>(beta), c, d, layout = *d_layout] {
        for (int32_t i = 0; i < layout.batch; ++i)
          multiply(desc, alpha, matrix_of(a, a_layout, i), a_layout, matrix_of(b, b_layout, i), b_layout,
                   beta, matrix_of(c, layout, i), const_cast<void*>(matrix_of(d, layout, i)), layout);
      });
  return CUBLAS_STATUS_SUCCESS;
}

moe::CudaLibraryState moe::gpu::cublas_state() {
  if (std::getenv("EMULATED_CUBLASLT_MISSING") != nullptr)
    return {.name = "cuBLASLt", .path = "", .version = "", .problem = "found none", .hint = "bring it"};
  return {.name = "cuBLASLt", .path = "emulated", .version = "13.1.0", .problem = "", .hint = ""};
}
