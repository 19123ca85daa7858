// SPDX-License-Identifier: MIT
#include "gpu/gemm.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <vector>

#include "base/error.h"
#include "gpu/check.h"

namespace moe::gpu {
namespace {

constexpr size_t kWorkspaceBytes = 32 << 20;  // the library's advice for Hopper
constexpr int kCandidates = 8;
constexpr int kRepeats = 3;

void check(cublasStatus_t status, const char* call, int line) {
  if (status != CUBLAS_STATUS_SUCCESS)
    fail_check(__FILE__, line, call, fmt::format("cuBLASLt status {}", static_cast<int>(status)));
}
#define CUBLAS_CHECK(call) check((call), #call, __LINE__)

cudaDataType_t type_of(DType dtype) {
  CHECK(dtype == DType::f32 || dtype == DType::bf16);
  return dtype == DType::f32 ? CUDA_R_32F : CUDA_R_16BF;
}

// The largest power of two, at most 256, that divides the number.
unsigned alignment_of(uint64_t number) {
  return number == 0 ? 256U : static_cast<unsigned>(std::min<uint64_t>(256, number & (~number + 1)));
}

}  // namespace

// What the library must be told of one product. It thinks in columns: our row-major c[M,N] is its c[N,M], so that it
// computes c^T = op(b)^T op(a)^T, with b as its first operand.
class Gemm::Plan {
 public:
  explicit Plan(const Key& key) {
    const auto [m, n, k] = std::array{key.m, key.n, key.k};
    const bool b_is_nk = key.form == Form::NT, a_is_km = key.form == Form::TN;
    CUBLAS_CHECK(cublasLtMatmulDescCreate(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    set(CUBLASLT_MATMUL_DESC_TRANSA, b_is_nk ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, a_is_km ? CUBLAS_OP_T : CUBLAS_OP_N);
    b_ = layout(key.input, b_is_nk ? k : n, b_is_nk ? n : k);
    a_ = layout(key.input, a_is_km ? m : k, a_is_km ? k : m);
    c_ = layout(key.output, n, m);
  }
  ~Plan() {
    for (cublasLtMatrixLayout_t matrix : {a_, b_, c_})
      if (matrix != nullptr) (void)cublasLtMatrixLayoutDestroy(matrix);
    if (operation_ != nullptr) (void)cublasLtMatmulDescDestroy(operation_);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  // The library's candidates, its favourite first.
  std::vector<cublasLtMatmulAlgo_t> candidates(cublasLtHandle_t handle, unsigned alignment) const {
    cublasLtMatmulPreference_t preference = nullptr;
    CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
    const std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, cublasStatus_t (*)(cublasLtMatmulPreference_t)>
        owner(preference, cublasLtMatmulPreferenceDestroy);
    // No product is split along its inner dimension: with any reduction allowed, reruns gave other bits on an H200.
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE;
    set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kWorkspaceBytes});
    set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions);
    for (const auto operand :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      set(preference, operand, uint32_t{alignment});
    std::array<cublasLtMatmulHeuristicResult_t, kCandidates> results{};
    int found = 0;
    CUBLAS_CHECK(cublasLtMatmulAlgoGetHeuristic(handle, operation_, b_, a_, c_, c_, preference, kCandidates,
                                                results.data(), &found));
    CHECK(found > 0, "cuBLASLt has no algorithm for this product");
    std::vector<cublasLtMatmulAlgo_t> algorithms;
    for (int i = 0; i < found; ++i)
      if (results[static_cast<size_t>(i)].state == CUBLAS_STATUS_SUCCESS)
        algorithms.push_back(results[static_cast<size_t>(i)].algo);
    CHECK(!algorithms.empty(), "cuBLASLt has no algorithm for this product");
    return algorithms;
  }

  void run(cublasLtHandle_t handle, void* c, const void* a, const void* b, bool accumulate,
           const cublasLtMatmulAlgo_t& algorithm, void* workspace, cudaStream_t stream) const {
    const float alpha = 1, beta = accumulate ? 1 : 0;
    CUBLAS_CHECK(cublasLtMatmul(handle, operation_, &alpha, b, b_, a, a_, &beta, c, c_, c, c_, &algorithm,
                                workspace, kWorkspaceBytes, stream));
  }

 private:
  static cublasLtMatrixLayout_t layout(DType dtype, int64_t rows, int64_t columns) {
    cublasLtMatrixLayout_t result = nullptr;
    CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&result, type_of(dtype), static_cast<uint64_t>(rows),
                                            static_cast<uint64_t>(columns), rows));
    return result;
  }
  void set(cublasLtMatmulDescAttributes_t attribute, cublasOperation_t value) {
    CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(operation_, attribute, &value, sizeof(value)));
  }
  template <class T>
  static void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute,
                  T value) {
    CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)));
  }

  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, c_ = nullptr;
};

Gemm::Gemm(GpuDevice& device) : device_(device), choices_(device.properties().name) {
  CUBLAS_CHECK(cublasLtCreate(&handle_));
  CUDA_CHECK(cudaMalloc(&workspace_, kWorkspaceBytes));
}

Gemm::~Gemm() {
  device_.release(workspace_);
  (void)cublasLtDestroy(handle_);
}

std::string Gemm::describe() const {
  const size_t version = cublasLtGetVersion();
  return fmt::format("cuBLASLt {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

void Gemm::multiply(Tensor& c_MN, const Tensor& a, const Tensor& b, Form form, bool accumulate) {
  Key key{c_MN.dim(0),
          c_MN.dim(1),
          form == Form::TN ? a.dim(0) : a.dim(1),
          form,
          a.dtype(),
          c_MN.dtype(),
          accumulate,
          0};
  if (key.m == 0 || key.n == 0) return;
  unsigned alignment = 256;
  for (const Tensor* t : {static_cast<const Tensor*>(&c_MN), &a, &b})
    for (const uint64_t number :
         {reinterpret_cast<uint64_t>(t->data()), static_cast<uint64_t>(t->dim(1)) * size_of(t->dtype())})
      alignment = std::min(alignment, alignment_of(number));
  key.alignment = alignment;
  Plan plan(key);
  auto found = chosen_.find(key);
  if (found == chosen_.end()) found = chosen_.emplace(key, choose(key, plan, c_MN, a, b)).first;
  plan.run(handle_, c_MN.data(), a.data(), b.data(), accumulate, found->second, workspace_, device_.stream());
}

std::string Gemm::Key::describe() const {
  const char* const name = form == Form::NT ? "NT" : form == Form::NN ? "NN" : "TN";
  return fmt::format("{} {} {} {}x{}x{} {}{}", name, name_of(input), name_of(output), m, n, k, alignment,
                     accumulate ? " +=" : "");
}

// What an earlier run chose, or the fastest of the library's candidates for these operands, timed into memory of their
// own: c must not be touched yet.
cublasLtMatmulAlgo_t Gemm::choose(const Key& key, Plan& plan, const Tensor& c, const Tensor& a,
                                  const Tensor& b) {
  const std::string product = key.describe();
  if (const auto known = choices_.find(product)) return *known;
  const auto candidates = plan.candidates(handle_, key.alignment);
  if (candidates.size() == 1 || c.bytes() > device_.memory_available() / 2) return candidates[0];
  const std::unique_ptr<void, void (*)(void*)> trial(device_.allocate(c.bytes()),
                                                     [](void* memory) { (void)cudaFree(memory); });
  cudaEvent_t begin = nullptr, end = nullptr;
  CUDA_CHECK(cudaEventCreate(&begin));
  CUDA_CHECK(cudaEventCreate(&end));
  size_t best = 0;
  float best_time = std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < candidates.size(); ++i) {
    float time = std::numeric_limits<float>::infinity();
    for (int repeat = 0; repeat <= kRepeats; ++repeat) {
      CUDA_CHECK(cudaEventRecord(begin, device_.stream()));
      plan.run(handle_, trial.get(), a.data(), b.data(), key.accumulate, candidates[i], workspace_,
               device_.stream());
      CUDA_CHECK(cudaEventRecord(end, device_.stream()));
      CUDA_CHECK(cudaEventSynchronize(end));
      float milliseconds = 0;
      CUDA_CHECK(cudaEventElapsedTime(&milliseconds, begin, end));
      if (repeat > 0) time = std::min(time, milliseconds);  // the first run loads code
    }
    if (time < best_time) best = i, best_time = time;
  }
  CUDA_CHECK(cudaEventDestroy(begin));
  CUDA_CHECK(cudaEventDestroy(end));
  choices_.keep(product, candidates[best]);
  return candidates[best];
}

}  // namespace moe::gpu
