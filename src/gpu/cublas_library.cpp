// SPDX-License-Identifier: MIT
// cuBLASLt without linking to it: the functions that gemm.cpp calls, each of which finds the toolkit's own
// when it is first called. So a program built for GPUs starts on a machine without CUDA, and trains there on
// the CPU.
#include <cublasLt.h>
#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/cuda_libraries.h"
#include "base/shared_library.h"
#include "gpu/libraries.h"

namespace {

const std::string kName = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);

// base/cuda_libraries.h says where it is looked for. It stays open.
const moe::SharedLibrary& library() {
  static const auto* const opened = new moe::SharedLibrary(
      moe::cuda_library_paths({kName, "nvidia/cu13/lib", MOE_CUBLAS_FOLDER}), kName,
      fmt::format("CUDA's library of matrix products (cuBLASLt {})", CUBLAS_VER_MAJOR),
      fmt::format("pip install nvidia-cublas=={0}.* beside the program (moe-cpp[cuda] brings it), or install "
                  "the CUDA {0} toolkit, or add the library's folder to LD_LIBRARY_PATH; training.device=cpu "
                  "needs none",
                  CUBLAS_VER_MAJOR));
  return *opened;
}

}  // namespace

moe::CudaLibraryState moe::gpu::cublas_state() {
  return cuda_library_state("cuBLASLt", [] {
    const size_t version = cublasLtGetVersion();
    return std::pair(library().path(), version);
  });
}

// The library's function of the same name and type.
#define REAL(function) static auto* const real = library().get<decltype(function)>(#function)

size_t cublasLtGetVersion() {
  REAL(cublasLtGetVersion);
  return real();
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  REAL(cublasLtCreate);
  return real(handle);
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  REAL(cublasLtDestroy);
  return real(handle);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* description, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  REAL(cublasLtMatmulDescCreate);
  return real(description, compute, scale);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  REAL(cublasLtMatmulDescDestroy);
  return real(description);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              size_t bytes) {
  REAL(cublasLtMatmulDescSetAttribute);
  return real(description, attribute, value, bytes);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t leading) {
  REAL(cublasLtMatrixLayoutCreate);
  return real(layout, type, rows, columns, leading);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  REAL(cublasLtMatrixLayoutDestroy);
  return real(layout);
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                                                size_t bytes) {
  REAL(cublasLtMatrixLayoutSetAttribute);
  return real(layout, attribute, value, bytes);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  REAL(cublasLtMatmulPreferenceCreate);
  return real(preference);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  REAL(cublasLtMatmulPreferenceDestroy);
  return real(preference);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  REAL(cublasLtMatmulPreferenceSetAttribute);
  return real(preference, attribute, value, bytes);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int* found) {
  REAL(cublasLtMatmulAlgoGetHeuristic);
  return real(handle, operation, a, b, c, d, preference, wanted, results, found);
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algorithm,
                                       cublasLtMatmulHeuristicResult_t* result) {
  REAL(cublasLtMatmulAlgoCheck);
  return real(handle, operation, a, b, c, d, algorithm, result);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
  REAL(cublasLtMatmul);
  return real(handle, operation, alpha, a, a_layout, b, b_layout, beta, c, c_layout, d, d_layout, algorithm,
              workspace, workspace_bytes, stream);
}
