// SPDX-License-Identifier: MIT
// AdamW with 8-bit moments: a warp a block of 256 elements, eight a lane. The floor is memory, 18 bytes an element, so
// the work beside it is kept small: codes come from a table in shared memory (ops/quantise8.h), which blocks that stay
// on their processor load once.
#include <algorithm>
#include <cstring>

#include "gpu/adamw.cuh"
#include "gpu/block_reduce.cuh"
#include "gpu/dynamic_shared.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "ops/adamw_step.h"
#include "ops/contracts/adamw8.h"
#include "ops/quantise8.h"

namespace moe::gpu {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr int kBlocksPerProcessor = 2;
constexpr int kBlock = contracts::kAdamBlock;
constexpr int kParts = kBlock / 32 / kFour;  // a lane's fours, each beside its neighbours'

struct Tables {
  adamw8::Quantiser quantise_m, quantise_v;
  adamw8::Map map_m, map_v;
};
__device__ const Tables kTables{adamw8::kQuantiseSigned, adamw8::kQuantiseUnsigned, adamw8::kSigned,
                                adamw8::kUnsigned};

struct Parameter {
  float* weight;
  bf16* compute;  // or null
  float* gradient;
  uint8_t *code_m, *code_v;
  float *absmax_m, *absmax_v;
};

using Codes = Vec<uint8_t, kFour>;

// The block's own copy of the tables.
__device__ __forceinline__ const Tables& copy_tables() {
  auto* const copy = dynamic_shared<int32_t>();
  const auto* const from = reinterpret_cast<const int32_t*>(&kTables);
  for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(sizeof(Tables) / sizeof(int32_t));
       i += kThreads)
    copy[i] = from[i];
  __syncthreads();
  return *reinterpret_cast<const Tables*>(copy);
}

// Eight moments of a lane, of which `left` of each four exist.
struct Moments {
  Vec<float, kFour> v[kParts];

  template <bool whole>
  __device__ void decode(const uint8_t* code, const adamw8::Map& map, float absmax,
                         const int64_t (&left)[kParts]) {
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      const Codes codes = load_some<whole>(code + i * 32 * kFour, left[i]);
#pragma unroll
      for (int j = 0; j < kFour; ++j) v[i].v[j] = whole || j < left[i] ? map[codes.v[j]] * absmax : 0;
    }
  }
  __device__ float largest() const {
    float most = 0;
#pragma unroll
    for (int i = 0; i < kParts; ++i)
#pragma unroll
      for (int j = 0; j < kFour; ++j) most = fmaxf(most, fabsf(v[i].v[j]));
    return warp_max(most);
  }
  // code = encode(moment / absmax).
  template <bool whole, class Encode>
  __device__ void encode(uint8_t* code, float absmax, const int64_t (&left)[kParts],
                         Encode encode_one) const {
    const float inverse = 1.0F / fmaxf(absmax, FLT_MIN);
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      Codes codes;
#pragma unroll
      for (int j = 0; j < kFour; ++j) codes.v[j] = encode_one(v[i].v[j] * inverse);
      store_some<whole>(code + i * 32 * kFour, codes, left[i]);
    }
  }
};

// whole: all elements of the block exist, and addresses allow four to be moved at once.
template <AdamW::Order order, bool whole>
__device__ __forceinline__ void step_block(const Parameter& to, const Tables& tables, int64_t block,
                                           int64_t n, const AdamWStep& step) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t at = block * kBlock + lane * kFour;
  int64_t left[kParts];
  Vec<float, kFour> weight[kParts], gradient[kParts];
#pragma unroll
  for (int i = 0; i < kParts; ++i) {
    left[i] = n - at - i * 32 * kFour;
    weight[i] = load_some<whole>(to.weight + at + i * 32 * kFour, left[i]);
    gradient[i] = load_some<whole>(to.gradient + at + i * 32 * kFour, left[i]);
  }
  Moments m, v;
  m.template decode<whole>(to.code_m + at, tables.map_m, to.absmax_m[block], left);
  v.template decode<whole>(to.code_v + at, tables.map_v, to.absmax_v[block], left);
#pragma unroll
  for (int i = 0; i < kParts; ++i) {
#pragma unroll
    for (int j = 0; j < kFour; ++j)
      adamw_element<order, FastMath>(weight[i].v[j], m.v[i].v[j], v.v[i].v[j], gradient[i].v[j], step);
    const int64_t here = at + i * 32 * kFour;
    store_some<whole>(to.weight + here, weight[i], left[i]);
    store_some<whole>(to.gradient + here, Vec<float, kFour>{}, left[i]);
    if (to.compute != nullptr) store_some<whole>(to.compute + here, rounded(weight[i]), left[i]);
  }
  const float absmax_m = m.largest(), absmax_v = v.largest();
  if (lane == 0) to.absmax_m[block] = absmax_m, to.absmax_v[block] = absmax_v;
  // Codes of a block without any magnitude are those that bitsandbytes' search gives for 0/0: they decode to 0.
  m.template encode<whole>(to.code_m + at, absmax_m, left, [&](float x) -> uint8_t {
    if (absmax_m == 0) return __float_as_int(x) < 0 ? 0 : 255;
    return adamw8::code_signed(tables.quantise_m, x);
  });
  v.template encode<whole>(to.code_v + at, absmax_v, left,
                           [&](float x) { return adamw8::code_unsigned(tables.quantise_v, x); });
}

// Blocks [first, end).
template <AdamW::Order order, bool whole>
__global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    adamw8_kernel(Parameter to, int64_t first, int64_t end, int64_t n, const float* scale_1, AdamWStep step) {
  step.scale = *scale_1;
  if (step.scale < 0) {
    const int64_t threads = int64_t{gridDim.x} * kThreads, last = min(n, end * kBlock);
    for (int64_t i = first * kBlock + int64_t{blockIdx.x} * kThreads + threadIdx.x; i < last; i += threads)
      to.gradient[i] = 0;
    return;
  }
  const Tables& tables = copy_tables();
  const int64_t warps = int64_t{gridDim.x} * kWarps;
  for (int64_t b = first + int64_t{blockIdx.x} * kWarps + threadIdx.x / 32; b < end; b += warps)
    step_block<order, whole>(to, tables, b, n, step);
}

template <AdamW::Order order, bool whole>
void run(cudaStream_t stream, int processors, const Parameter& to, int64_t first, int64_t end, int64_t n,
         const float* scale_1, const AdamW& options) {
  if (first == end) return;
  const int64_t grid =
      std::min<int64_t>(ceil_div(end - first, kWarps), int64_t{kBlocksPerProcessor} * processors);
  launch(stream, adamw8_kernel<order, whole>, {blocks(grid), kThreads, sizeof(Tables)}, to, first, end, n,
         scale_1, AdamWStep(options, 0));
}

}  // namespace

void GpuOps::adamw8(Tensor weight, Tensor compute, Tensor gradient, Tensor code_m, Tensor code_v,
                    Tensor absmax_m, Tensor absmax_v, const Tensor& scale_1, const AdamW& options) {
  contracts::check_adamw8(weight, compute, gradient, code_m, code_v, absmax_m, absmax_v, scale_1, options);
  const int64_t n = weight.numel();
  if (n == 0) return;
  const Parameter to{pointer<float>(weight),   pointer<bf16>(compute),   pointer<float>(gradient),
                     pointer<uint8_t>(code_m), pointer<uint8_t>(code_v), pointer<float>(absmax_m),
                     pointer<float>(absmax_v)};
  const bool aligned = vector_width<float>(0, to.weight, to.compute, to.gradient, to.code_m, to.code_v) > 1;
  const int64_t whole = aligned ? n / kBlock : 0, end = ceil_div(n, kBlock);
  const auto run_order = [&]<AdamW::Order order>() {
    run<order, true>(stream_, processors_, to, 0, whole, n, pointer<float>(scale_1), options);
    run<order, false>(stream_, processors_, to, whole, end, n, pointer<float>(scale_1), options);
  };
  if (options.order == AdamW::Order::pytorch) return run_order.operator()<AdamW::Order::pytorch>();
  run_order.operator()<AdamW::Order::bitsandbytes>();
}

}  // namespace moe::gpu
