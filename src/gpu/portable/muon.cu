// SPDX-License-Identifier: MIT
// Muon. Momentum and update are memory traffic: a warp a block of 256 elements. The iteration is three
// products for each step, of all matrices of a stack at once, with the sums of the polynomial in their
// epilogues.
#include <algorithm>
#include <utility>

#include "gpu/block_reduce.cuh"
#include "gpu/check.h"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/portable/adamw.cuh"
#include "gpu/portable/moment8.cuh"
#include "ops/muon_step.h"

namespace moe::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kShares = 8;  // thread blocks for one matrix

// ---- which matrices move ----

template <class G>
__global__ void activity_kernel(int32_t* active, const G* gradient, int64_t elements) {
  const int64_t begin = int64_t{blockIdx.y} * elements, step = int64_t{kShares} * kThreads;
  bool any = false;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < elements; i += step)
    any = any || !(to_float(gradient[begin + i]) == 0.0F);
  // All who write write the same.
  if (block_max(any ? 1.0F : 0.0F) > 0 && threadIdx.x == 0) active[blockIdx.y] = 1;
}

template <class G>
__global__ void activity_by_turns_kernel(int32_t* active, const G* gradient, MatrixStack stack) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < stack.numel() && !(to_float(gradient[i]) == 0.0F)) active[stack.packed(i) / stack.elements()] = 1;
}

// ---- momentum ----

// For 8-bit blocks; the block's own copy is in shared memory.
struct Tables {
  adamw8::Quantiser quantise_m[2];  // of positive m; of negative m, the complement of the code
  adamw8::Map map_m;
};
__device__ const Tables kTables{
    {adamw8::kQuantiseSigned, adamw8::Quantiser::complement_of_negative(adamw8::kSigned)}, adamw8::kSigned};

template <class U, class G>
struct Momentum {
  U* u;
  float* m;  // or codes and absmax
  uint8_t* codes;
  float* absmax;
  const G* gradient;
  const int32_t* active;  // or null
};

// Four elements that lie in one row of a matrix, or so many that are left of a flat tensor.
template <bool whole, class T>
__device__ __forceinline__ void store_packed(T* to, const MatrixStack& stack, int64_t at, int64_t left,
                                             const Vec<T, kFour>& v) {
  if constexpr (whole) {
    store(to + stack.packed(at), v);
  } else {
#pragma unroll
    for (int j = 0; j < kFour; ++j)
      if (j < left) to[stack.packed(at + j)] = v.v[j];
  }
}
template <bool whole, class T>
__device__ __forceinline__ Vec<T, kFour> load_packed(const T* from, const MatrixStack& stack, int64_t at,
                                                     int64_t left) {
  if constexpr (whole) return load<kFour>(from + stack.packed(at));
  Vec<T, kFour> v{};
#pragma unroll
  for (int j = 0; j < kFour; ++j)
    if (j < left) v.v[j] = from[stack.packed(at + j)];
  return v;
}
__device__ __forceinline__ bool is_active(const int32_t* active, const MatrixStack& stack, int64_t at) {
  return active == nullptr || active[stack.packed(at) / stack.elements()] != 0;
}

// whole: blocks of 256 elements are those of one matrix, rows and addresses allow four to be moved at once.
template <bool eight_bit, bool whole, class U, class G>
__global__ void __launch_bounds__(kThreads)
    momentum_kernel(Momentum<U, G> to, MatrixStack stack, const float* scale_1, MuonMomentumStep step) {
  const Tables* tables = nullptr;
  if constexpr (eight_bit) tables = &copy_to_shared<kThreads>(kTables);
  step.scale = *scale_1;
  const int64_t n = stack.numel(), warps = int64_t{gridDim.x} * kWarps;
  for (int64_t block = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32; block * kBlock < n; block += warps) {
    const bool block_moves = step.scale >= 0 && (!whole || is_active(to.active, stack, block * kBlock));
    Moments m;
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      const Place here(block, i, n);
      const auto gradient = load_some<whole>(to.gradient + here.at, here.left);
      Vec<float, kFour> old{}, u{};
      if constexpr (eight_bit) {
        const auto codes = load_some<whole>(to.codes + here.at, here.left);
#pragma unroll
        for (int j = 0; j < kFour; ++j) old.v[j] = tables->map_m[codes.v[j]] * to.absmax[block];
      } else {
        old = load_some<whole>(to.m + here.at, here.left);
      }
#pragma unroll
      for (int j = 0; j < kFour; ++j) {
        const bool exists = whole || j < here.left;
        const bool moves = block_moves && exists && (whole || is_active(to.active, stack, here.at + j));
        if (moves) u.v[j] = muon_momentum_element(old.v[j], to_float(gradient.v[j]), step);
        m.v[i][j] = exists ? old.v[j] : 0.0F;
      }
      if constexpr (!eight_bit) store_some<whole>(to.m + here.at, old, here.left);
      Vec<U, kFour> rounded_u;
#pragma unroll
      for (int j = 0; j < kFour; ++j) rounded_u.v[j] = from_float<U>(u.v[j]);
      store_packed<whole>(to.u, stack, here.at, here.left, rounded_u);
    }
    if constexpr (eight_bit) {
      // Rounding again would change the moments of those that do not move.
      if (!block_moves) continue;
      const float absmax = m.largest();
      __syncwarp();
      if (threadIdx.x % 32 == 0) to.absmax[block] = absmax;
#pragma unroll
      for (int i = 0; i < kParts; ++i) {
        const Place here(block, i, n);
        store_some<whole>(to.codes + here.at,
                          std::bit_cast<Vec<uint8_t, kFour>>(encode_m(tables->quantise_m, m.v[i], absmax)),
                          here.left);
      }
    }
  }
}

// ---- the iteration ----

template <class T>
__global__ void squares_kernel(double* parts, const T* x, int64_t elements) {
  const int64_t begin = int64_t{blockIdx.y} * elements, step = int64_t{kShares} * kThreads;
  double sum = 0;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < elements; i += step) {
    const auto value = static_cast<double>(to_float(x[begin + i]));
    sum += value * value;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) parts[int64_t{blockIdx.y} * kShares + blockIdx.x] = sum;
}

template <class T>
__global__ void normalise_kernel(T* y, const T* x, const double* parts, int64_t elements, float safety) {
  double squares = 0;
  for (int i = 0; i < kShares; ++i) squares += parts[int64_t{blockIdx.y} * kShares + i];
  const float norm = fmaxf(safety * static_cast<float>(sqrt(squares)), 1e-7F);
  const int64_t begin = int64_t{blockIdx.y} * elements, step = int64_t{kShares} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < elements; i += step)
    y[begin + i] = from_float<T>(to_float(x[begin + i]) / norm);
}

// ---- update ----

template <class W, class X>
struct Update {
  W* weight;
  bf16* compute;  // or null
  const X* x;
  const int32_t* active;  // or null
};

template <bool whole, class W, class X>
__global__ void __launch_bounds__(kThreads)
    update_kernel(Update<W, X> to, MatrixStack stack, const float* scale_1, MuonUpdateStep step,
                  StochasticRounding rounding) {
  if (*scale_1 < 0) return;
  const int64_t n = stack.numel(), warps = int64_t{gridDim.x} * kWarps;
  for (int64_t block = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32; block * kBlock < n; block += warps) {
    if (whole && !is_active(to.active, stack, block * kBlock)) continue;
    StochasticRounding::Bits random{};
    if constexpr (!std::is_same_v<W, float>) random = rounding.draw(Place(block, 0, n).at);
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      const Place here(block, i, n);
      const auto old = load_some<whole>(to.weight + here.at, here.left);
      const auto x = load_packed<whole>(to.x, stack, here.at, here.left);
      Vec<float, kFour> weight;
#pragma unroll
      for (int j = 0; j < kFour; ++j) {
        weight.v[j] = to_float(old.v[j]);
        if (whole || (j < here.left && is_active(to.active, stack, here.at + j)))
          weight.v[j] = muon_update_element(weight.v[j], to_float(x.v[j]), step);
      }
      store_weights<whole>(to.weight + here.at, to.compute == nullptr ? nullptr : to.compute + here.at,
                           weight, here.left, random, i);
    }
  }
}

// Grids that stay on their multiprocessors.
unsigned grid_of(const MatrixStack& stack, int num_sms) {
  constexpr int64_t kBlocksPerSm = 8;
  return blocks(std::min(ceil_div(ceil_div(stack.numel(), kBlock), kWarps), kBlocksPerSm * num_sms));
}

template <class... Pointers>
bool is_whole(const MatrixStack& stack, Pointers... pointers) {
  return stack.elements() % kBlock == 0 && stack.cols % kFour == 0 && vector_width<float>(0, pointers...) > 1;
}

dim3 shares_of(int64_t matrices) {
  CHECK(matrices < 65536, "a grid of " + std::to_string(matrices) + " matrices");
  return {kShares, blocks(matrices), 1};
}

}  // namespace

void GpuOps::matrix_activity(MatrixActivity op) {
  op.check();
  const MatrixStack& stack = op.stack;
  auto* const active = pointer<int32_t>(op.active_B);
  CUDA_CHECK(cudaMemsetAsync(active, 0, static_cast<size_t>(op.active_B.bytes()), stream_));
  with_f32_or_bf16(op.gradient.dtype(), [&]<class G>() {
    if (stack.interleaved == 0)
      launch(stream_, activity_kernel<G>, {shares_of(stack.count), kThreads}, active, pointer<G>(op.gradient),
             stack.elements());
    else
      launch(stream_, activity_by_turns_kernel<G>, {blocks(ceil_div(stack.numel(), kThreads)), kThreads},
             active, pointer<G>(op.gradient), stack);
  });
}

void GpuOps::muon_momentum(MuonMomentum op) {
  op.check();
  const MuonMomentumStep step(op, 0);
  with_f32_or_bf16(op.u.dtype(), [&]<class U>() {
    with_f32_or_bf16(op.gradient.dtype(), [&]<class G>() {
      const Momentum<U, G> to{pointer<U>(op.u),
                              pointer<float>(op.m),
                              pointer<uint8_t>(op.code_m),
                              pointer<float>(op.absmax_m),
                              pointer<G>(op.gradient),
                              pointer<int32_t>(op.active_B)};
      const bool whole = is_whole(op.stack, to.u, to.m, to.codes, to.gradient);
      const auto run = [&](auto kernel, size_t shared_bytes) {
        launch(stream_, kernel, {grid_of(op.stack, num_sms_), kThreads, shared_bytes}, to, op.stack,
               pointer<float>(op.scale_1), step);
      };
      if (op.m.empty())
        run(whole ? momentum_kernel<true, true, U, G> : momentum_kernel<true, false, U, G>, sizeof(Tables));
      else
        run(whole ? momentum_kernel<false, true, U, G> : momentum_kernel<false, false, U, G>, 0);
    });
  });
}

void GpuOps::newton_schulz(NewtonSchulz op) {
  op.check();
  const int64_t B = op.x_BMN.dim(0), M = op.x_BMN.dim(1), N = op.x_BMN.dim(2);
  // The steps go from one to the other and end in x.
  const bool odd = op.steps.count % 2 != 0;
  Tensor from = odd ? op.y_BMN : op.x_BMN, to = odd ? op.x_BMN : op.y_BMN;
  with_f32_or_bf16(op.x_BMN.dtype(), [&]<class T>() {
    double* const parts = workspace_.carve().take<double>(B * kShares);
    const T* const x = pointer<T>(std::as_const(op.x_BMN));
    launch(stream_, squares_kernel<T>, {shares_of(B), kThreads}, parts, x, M * N);
    launch(stream_, normalise_kernel<T>, {shares_of(B), kThreads}, pointer<T>(from), x, parts, M * N,
           op.steps.safety);
  });
  for (int i = 0; i < op.steps.count; ++i, std::swap(from, to)) {
    const auto& [a, b, c] = op.steps.polynomial[static_cast<size_t>(i)];
    const bool tall = M > N;
    gemm_.multiply(op.a_BSS, from, from, tall ? MatmulLayout::TN : MatmulLayout::NT, {});
    gemm_.multiply(op.p_BSS, op.a_BSS, op.a_BSS, MatmulLayout::NN, op.a_BSS, {.product = c, .addend = b});
    if (tall)
      gemm_.multiply(to, from, op.p_BSS, MatmulLayout::NN, from, {.product = 1, .addend = a});
    else
      gemm_.multiply(to, op.p_BSS, from, MatmulLayout::NN, from, {.product = 1, .addend = a});
  }
}

void GpuOps::muon_update(MuonUpdate op) {
  op.check();
  with_f32_or_bf16(op.weight.dtype(), [&]<class W>() {
    with_f32_or_bf16(op.x.dtype(), [&]<class X>() {
      const Update<W, X> to{pointer<W>(op.weight), pointer<bf16>(op.compute), pointer<X>(op.x),
                            pointer<int32_t>(op.active_B)};
      const auto kernel = is_whole(op.stack, to.weight, to.compute, to.x) ? update_kernel<true, W, X>
                                                                          : update_kernel<false, W, X>;
      launch(stream_, kernel, {grid_of(op.stack, num_sms_), kThreads}, to, op.stack,
             pointer<float>(op.scale_1), MuonUpdateStep(op), StochasticRounding(op));
    });
  });
}

}  // namespace moe::gpu
