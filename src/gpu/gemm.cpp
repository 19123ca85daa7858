// SPDX-License-Identifier: MIT
#include "gpu/gemm.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/steady_seconds.h"
#include "gpu/check.h"
#include "gpu/split_k.h"

namespace moe::gpu {
namespace {

constexpr size_t kWorkspaceBytes = 32 << 20;  // the library's advice for Hopper
constexpr size_t kPartsBytes = 64 << 20;
constexpr int64_t kSplits[] = {8, 4, 2};  // tried for weight gradients
constexpr int64_t kSlice = 1024;          // at least so much of the inner dimension for each part
constexpr int kCandidates = 8;
constexpr int64_t kStack = 64;  // so many products the algorithm of stacked ones is chosen for
constexpr int kRepeats = 3;

void check(cublasStatus_t status, const char* call, int line) {
  if (status != CUBLAS_STATUS_SUCCESS)
    fail_check(__FILE__, line, call, fmt::format("cuBLASLt status {}", static_cast<int>(status)));
}
#define CUBLAS_CHECK(call) check((call), #call, __LINE__)

cudaDataType_t type_of(DType dtype) {
  if (is_fp8(dtype)) return dtype == DType::e4m3 ? CUDA_R_8F_E4M3 : CUDA_R_8F_E5M2;
  CHECK(is_activation(dtype));
  return dtype == DType::f32 ? CUDA_R_32F : dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_16F;
}

// The largest power of two, at most 256, that divides the number.
unsigned alignment_of(uint64_t number) {
  return number == 0 ? 256U : static_cast<unsigned>(std::min<uint64_t>(256, number & (~number + 1)));
}

}  // namespace

// What the library must be told of one product. It thinks in columns: our row-major c[M,N] is its c[N,M], so
// that it computes c^T = op(b)^T op(a)^T, with b as its first operand. Of several parts (TN only) each is the
// product of one slice of the tokens, in f32, one after another in memory.
class Gemm::Plan {
 public:
  explicit Plan(const Key& key, int64_t parts = 1, int64_t products = 1) : count_(parts * products) {
    CHECK(key.k % parts == 0 && (parts == 1 || (key.layout == MatmulLayout::TN && products == 1)));
    const auto [m, n, k] = std::array{key.m, key.n, key.k / parts};
    const bool b_is_nk = key.layout == MatmulLayout::NT, a_is_km = key.layout == MatmulLayout::TN;
    CUBLAS_CHECK(cublasLtMatmulDescCreate(
        &operation_, key.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F));
    set(CUBLASLT_MATMUL_DESC_TRANSA, b_is_nk ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, a_is_km ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (is_fp8(key.input)) {
      set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
      set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
      // The matrix units keep 14 bits; without this, sums leave them every 128 products.
      set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, static_cast<int8_t>(key.fast));
    }
    // Weights, the library's first operand, are E4M3 always.
    b_ = layout(is_fp8(key.input) ? DType::e4m3 : key.input, b_is_nk ? k : n, b_is_nk ? n : k);
    a_ = layout(key.input, a_is_km ? m : k, a_is_km ? k : m);
    c_ = layout(parts == 1 ? key.output : DType::f32, n, m);
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
    // No product is split along its inner dimension: with any reduction allowed, reruns gave other bits on an
    // H200.
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

  // Whether the library can run it, in the workspace that there is.
  bool accepts(cublasLtHandle_t handle, const cublasLtMatmulAlgo_t& algorithm) const {
    cublasLtMatmulHeuristicResult_t result{};
    return cublasLtMatmulAlgoCheck(handle, operation_, b_, a_, c_, c_, &algorithm, &result) ==
               CUBLAS_STATUS_SUCCESS &&
           result.workspaceSize <= kWorkspaceBytes;
  }

  void set_scales(const Scales& scales) {
    if (scales.a == nullptr) return;
    set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, scales.b);
    set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, scales.a);
  }

  void run(cublasLtHandle_t handle, void* c, const void* a, const void* b, const void* addend,
           const Factors& factors, const cublasLtMatmulAlgo_t& algorithm, void* workspace,
           cudaStream_t stream) const {
    const float alpha = factors.product, beta = addend != nullptr ? factors.addend : 0;
    if (addend == nullptr) addend = c;
    CUBLAS_CHECK(cublasLtMatmul(handle, operation_, &alpha, b, b_, a, a_, &beta, addend, c_, c, c_,
                                &algorithm, workspace, kWorkspaceBytes, stream));
  }

 private:
  cublasLtMatrixLayout_t layout(DType dtype, int64_t rows, int64_t columns) const {
    cublasLtMatrixLayout_t result = nullptr;
    CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&result, type_of(dtype), static_cast<uint64_t>(rows),
                                            static_cast<uint64_t>(columns), rows));
    set(result, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<int32_t>(count_));
    set(result, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, rows * columns);
    return result;
  }
  template <class T>
  static void set(cublasLtMatrixLayout_t matrix, cublasLtMatrixLayoutAttribute_t attribute, T value) {
    CUBLAS_CHECK(cublasLtMatrixLayoutSetAttribute(matrix, attribute, &value, sizeof(value)));
  }
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, T value) {
    CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(operation_, attribute, &value, sizeof(value)));
  }
  template <class T>
  static void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute,
                  T value) {
    CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)));
  }

  int64_t count_;  // of products
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, c_ = nullptr;
};

Gemm::Gemm(GpuDevice& device, bool tf32) : Gemm(device, tf32, GemmAlgorithmCache(device.properties().name)) {}

Gemm::Gemm(GpuDevice& device, bool tf32, GemmAlgorithmCache choices)
    : device_(device), tf32_(tf32), choices_(std::move(choices)) {
  CUBLAS_CHECK(cublasLtCreate(&handle_));
  CUDA_CHECK(cudaMalloc(&workspace_, kWorkspaceBytes));
  CUDA_CHECK(cudaMalloc(&parts_, kPartsBytes));
}

Gemm::~Gemm() {
  device_.release(workspace_);
  device_.release(parts_);
  (void)cublasLtDestroy(handle_);
}

void Gemm::open_library() {
  try {
    (void)cublasLtGetVersion();
  } catch (const UserError&) {
    // It is looked for again, and missed, where it is used.
  }
}

std::string Gemm::describe() const {
  const size_t version = cublasLtGetVersion();
  const size_t shipped = choices_.shipped();
  return fmt::format("cuBLASLt {}.{}.{} with {}", version / 10000, version / 100 % 100, version % 100,
                     shipped > 0 ? fmt::format("{} shipped algorithms", shipped)
                                 : "no shipped algorithms for this GPU and version");
}

std::vector<std::string> Gemm::take_notes() {
  std::vector<std::string> notes;
  if (refused_ > 0)
    notes.push_back(fmt::format("cuBLASLt refuses the known algorithms of {} products", refused_));
  if (measured_ > 0)
    notes.push_back(
        fmt::format("the fastest algorithms of {} products were measured in {:.2f} s", measured_, seconds_));
  refused_ = measured_ = 0;
  seconds_ = 0;
  return notes;
}

void Gemm::multiply(Tensor c, const Tensor& a, const Tensor& b, MatmulLayout layout, const Tensor& addend,
                    const Factors& factors) {
  const int first = c.rank() - 2;  // dimension of a matrix
  const Key key{first > 0,
                c.dim(first),
                c.dim(first + 1),
                layout == MatmulLayout::TN ? a.dim(first) : a.dim(first + 1),
                layout,
                a.dtype(),
                c.dtype(),
                !addend.empty(),
                tf32_ && a.dtype() == DType::f32,
                false,
                0};
  multiply(key, first == 0 ? 1 : c.dim(0), c, a, b, addend, factors, {});
}

void Gemm::multiply(Tensor c, const ScaledRows& a, const ScaledRows& b, const Tensor& addend, bool fast) {
  const Key key{false,
                c.dim(0),
                c.dim(1),
                a.value.dim(1),
                MatmulLayout::NT,
                a.value.dtype(),
                c.dtype(),
                !addend.empty(),
                false,
                fast,
                0};
  multiply(key, 1, c, a.value, b.value, addend, {1, 1}, {a.scale.as<float>(), b.scale.as<float>()});
}

void Gemm::multiply(Key key, int64_t products, Tensor c, const Tensor& a, const Tensor& b,
                    const Tensor& addend, const Factors& factors, const Scales& scales) {
  if (key.m == 0 || key.n == 0) return;
  unsigned alignment = 256;
  for (const Tensor* t : {static_cast<const Tensor*>(&c), &addend, &a, &b}) {
    if (t->data() == nullptr) continue;
    const auto row = static_cast<uint64_t>(t->dim(t->rank() - 1)) * size_of(t->dtype());
    alignment = std::min(alignment, alignment_of(row));
    // A stack begins at a multiple of its matrices' size, whichever of them are here.
    if (!key.stacked) alignment = std::min(alignment, alignment_of(reinterpret_cast<uint64_t>(t->data())));
  }
  key.alignment = alignment;
  auto found = chosen_.find(key);
  if (found == chosen_.end()) found = chosen_.emplace(key, choose(key, c, a, b, addend.data(), scales)).first;
  Plan plan(key, found->second.parts, products);
  plan.set_scales(scales);
  run(key, plan, found->second, c.data(), a, b, addend.data(), factors);
}

void Gemm::run(const Key& key, const Plan& plan, const GemmChoice& choice, void* c, const Tensor& a,
               const Tensor& b, const void* addend, const Factors& factors) {
  const bool whole = choice.parts == 1;
  plan.run(handle_, whole ? c : parts_, a.data(), b.data(), whole ? addend : nullptr, factors,
           choice.algorithm, workspace_, device_.stream());
  if (whole) return;
  CHECK(addend == nullptr || addend == c, "a product in parts adds to its own output only");
  CHECK(factors.product == 1 && factors.addend == 1, "a product in parts has no factors");
  add_parts(device_.stream(), c, key.output, parts_, choice.parts, key.m * key.n, key.adds);
}

std::string Gemm::Key::describe() const {
  const char* const name = layout == MatmulLayout::NT ? "NT" : layout == MatmulLayout::NN ? "NN" : "TN";
  return fmt::format("{} {} {} {}x{}x{} {}{}{}", name, tf32 ? "tf32" : name_of(input), name_of(output), m, n,
                     k, alignment, adds ? " +=" : "", fast ? " fast" : "");
}

// A weight gradient has few elements and a long inner dimension: the tokens are cut into slices, so that all
// SMs have work, and the slices' sums are added in order.
bool Gemm::Key::may_have_parts(int64_t parts) const {
  return parts == 1 ||
         (layout == MatmulLayout::TN && std::ranges::find(kSplits, parts) != std::end(kSplits) &&
          k % (parts * kSlice) == 0 && parts * m * n * 4 <= int64_t{kPartsBytes});
}

// All that may be the fastest way to this product.
std::vector<GemmChoice> Gemm::candidates(const Key& key, const Scales& scales) const {
  std::vector<GemmChoice> result;
  const auto add = [&](int64_t parts) {
    Plan plan(key, parts);
    plan.set_scales(scales);
    for (const auto& algorithm : plan.candidates(handle_, key.alignment))
      result.push_back({algorithm, parts});
  };
  for (const int64_t parts : kSplits)
    if (key.may_have_parts(parts)) add(parts);
  add(1);
  return result;
}

// What came with the program or an earlier run chose, where this GPU and library can run it.
std::optional<GemmChoice> Gemm::known(const Key& key, const std::string& product, const Scales& scales) {
  auto choice = choices_.find(product);
  if (!choice) return std::nullopt;
  if (key.may_have_parts(choice->parts)) {
    Plan plan(key, choice->parts);
    plan.set_scales(scales);
    if (plan.accepts(handle_, choice->algorithm)) return choice;
  }
  ++refused_;
  return std::nullopt;
}

// What is known, or the fastest of the candidates for these operands, timed into memory of their own: c must
// not be touched yet.
GemmChoice Gemm::choose(const Key& key, const Tensor& c, const Tensor& a, const Tensor& b, const void* addend,
                        const Scales& scales) {
  if (key.stacked) return {Plan(key, 1, kStack).candidates(handle_, key.alignment).front(), 1};
  const std::string product = key.describe();
  if (const auto choice = known(key, product, scales)) return *choice;
  const double started = steady_seconds();
  const auto tried = candidates(key, scales);
  if (tried.size() == 1 || c.bytes() > device_.memory_available() / 2) return tried.back();
  const std::unique_ptr<void, void (*)(void*)> trial(device_.allocate(c.bytes()),
                                                     [](void* memory) { (void)cudaFree(memory); });
  cudaEvent_t begin = nullptr, end = nullptr;
  CUDA_CHECK(cudaEventCreate(&begin));
  CUDA_CHECK(cudaEventCreate(&end));
  size_t best = 0;
  float best_time = std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < tried.size(); ++i) {
    Plan plan(key, tried[i].parts);
    plan.set_scales(scales);
    float time = std::numeric_limits<float>::infinity();
    for (int repeat = 0; repeat <= kRepeats; ++repeat) {
      CUDA_CHECK(cudaEventRecord(begin, device_.stream()));
      run(key, plan, tried[i], trial.get(), a, b, addend == c.data() ? trial.get() : addend, {1, 1});
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
  choices_.keep(product, tried[best]);
  ++measured_;
  seconds_ += steady_seconds() - started;
  return tried[best];
}

}  // namespace moe::gpu
