// SPDX-License-Identifier: MIT
// AdamW with 8-bit moments: a warp a block of 256 elements, eight a lane. The floor is memory, 18 bytes an
// element, so a warp asks for its next block before it works on this one, and the work is kept small: codes
// come from tables in shared memory (ops/quantise8.h), which blocks that stay on their processor load once.
#include <algorithm>
#include <bit>

#include "gpu/block_reduce.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/portable/adamw.cuh"
#include "gpu/portable/moment8.cuh"
#include "ops/adamw_step.h"
#include "ops/quantise8.h"

namespace moe::gpu {
namespace {

constexpr int kThreads = 384;
constexpr int kWarps = kThreads / 32;
constexpr int kBlocksPerSm = 2;
struct Tables {
  adamw8::Quantiser quantise_m[2];  // of positive m; of negative m, the complement of the code
  adamw8::Quantiser quantise_v;
  adamw8::Map map_m, map_v;
};
__device__ const Tables kTables{
    {adamw8::kQuantiseSigned, adamw8::Quantiser::complement_of_negative(adamw8::kSigned)},
    adamw8::kQuantiseUnsigned,
    adamw8::kSigned,
    adamw8::kUnsigned};

template <class W, class G>
struct Parameter {
  W* weight;
  bf16* compute;  // or null
  const G* gradient;
  uint8_t *code_m, *code_v;
  float *absmax_m, *absmax_v;
};

// What a lane needs of a block, as it lies in memory.
template <class W, class G>
struct Loaded {
  Vec<W, kFour> weight[kParts];
  Vec<G, kFour> gradient[kParts];
  uint32_t code_m[kParts], code_v[kParts];  // four codes each
  float absmax_m, absmax_v;

  template <bool whole>
  __device__ __forceinline__ void load(const Parameter<W, G>& from, int64_t block, int64_t n) {
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      const Place here(block, i, n);
      weight[i] = load_some<whole>(from.weight + here.at, here.left);
      gradient[i] = load_some<whole>(from.gradient + here.at, here.left);
      code_m[i] = std::bit_cast<uint32_t>(load_some<whole>(from.code_m + here.at, here.left));
      code_v[i] = std::bit_cast<uint32_t>(load_some<whole>(from.code_v + here.at, here.left));
    }
    absmax_m = from.absmax_m[block];
    absmax_v = from.absmax_v[block];
  }
};

__device__ __forceinline__ uint32_t encode_v(const Tables& tables, const float (&v)[kFour], float absmax) {
  const float inverse = fast_reciprocal(fmaxf(absmax, FLT_MIN));
  uint32_t scaled[kFour];
#pragma unroll
  for (int j = 0; j < kFour; ++j) {
    const float x = fmaxf(fminf(v[j] * inverse, 1.0F), adamw8::Quantiser::kLeast);
    scaled[j] = tables.quantise_v.scaled(__float_as_int(x));
  }
  return third_bytes(scaled);
}

// whole: all elements of the block exist, and addresses allow four to be moved at once.
template <AdamW::Order order, bool whole, class W, class G>
__device__ __forceinline__ void step_block(const Parameter<W, G>& to, const Loaded<W, G>& from,
                                           const Tables& tables, int64_t block, int64_t n,
                                           const AdamWStep& step, const StochasticRounding& rounding) {
  StochasticRounding::Bits random{};
  if constexpr (!std::is_same_v<W, float>) random = rounding.draw(Place(block, 0, n).at);
  Moments m, v;
#pragma unroll
  for (int i = 0; i < kParts; ++i) {
    const Place here(block, i, n);
    Vec<float, kFour> weight;
#pragma unroll
    for (int j = 0; j < kFour; ++j) {
      const bool exists = whole || j < here.left;
      m.v[i][j] = exists ? tables.map_m[from.code_m[i] >> 8 * j & 0xff] * from.absmax_m : 0;
      v.v[i][j] = exists ? tables.map_v[from.code_v[i] >> 8 * j & 0xff] * from.absmax_v : 0;
      weight.v[j] = to_float(from.weight[i].v[j]);
      adamw_element<order, FastMath>(weight.v[j], m.v[i][j], v.v[i][j], to_float(from.gradient[i].v[j]),
                                     step);
    }
    store_weights<whole>(to.weight + here.at, to.compute == nullptr ? nullptr : to.compute + here.at, weight,
                         here.left, random, i);
  }
  const float absmax_m = m.largest(), absmax_v = v.largest();
  if (threadIdx.x % 32 == 0) to.absmax_m[block] = absmax_m, to.absmax_v[block] = absmax_v;
#pragma unroll
  for (int i = 0; i < kParts; ++i) {
    const Place here(block, i, n);
    store_some<whole>(to.code_m + here.at,
                      std::bit_cast<Vec<uint8_t, kFour>>(encode_m(tables.quantise_m, m.v[i], absmax_m)),
                      here.left);
    store_some<whole>(to.code_v + here.at,
                      std::bit_cast<Vec<uint8_t, kFour>>(encode_v(tables, v.v[i], absmax_v)), here.left);
  }
}

// Blocks [first, end).
template <AdamW::Order order, bool whole, class W, class G>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    adamw8_kernel(Parameter<W, G> to, int64_t first, int64_t end, int64_t n, const float* scale_1,
                  AdamWStep step, StochasticRounding rounding) {
  step.scale = *scale_1;
  if (step.scale < 0) return;
  const int64_t warps = int64_t{gridDim.x} * kWarps;
  int64_t block = first + int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  Loaded<W, G> next;
  if (block < end) next.template load<whole>(to, block, n);
  const Tables& tables = copy_to_shared<kThreads>(kTables);
  for (; block < end; block += warps) {
    const Loaded<W, G> now = next;
    if (block + warps < end) next.template load<whole>(to, block + warps, n);
    step_block<order, whole>(to, now, tables, block, n, step, rounding);
  }
}

template <AdamW::Order order, bool whole, class W, class G>
void run(cudaStream_t stream, int num_sms, const Parameter<W, G>& to, int64_t first, int64_t end, int64_t n,
         const float* scale_1, const AdamW& options) {
  if (first == end) return;
  const int64_t grid = std::min<int64_t>(ceil_div(end - first, kWarps), int64_t{kBlocksPerSm} * num_sms);
  launch(stream, adamw8_kernel<order, whole, W, G>, {blocks(grid), kThreads, sizeof(Tables)}, to, first, end,
         n, scale_1, AdamWStep(options, 0), StochasticRounding(options));
}

}  // namespace

void GpuOps::adamw8(AdamW8 op) {
  op.check();
  const int64_t n = op.weight.numel();
  if (n == 0) return;
  with_adamw_types(op.weight, op.gradient, op.options.order, [&]<class W, class G, AdamW::Order order>() {
    const Parameter<W, G> to{pointer<W>(op.weight),       pointer<bf16>(op.compute),
                             pointer<G>(op.gradient),     pointer<uint8_t>(op.code_m),
                             pointer<uint8_t>(op.code_v), pointer<float>(op.absmax_m),
                             pointer<float>(op.absmax_v)};
    const bool aligned = vector_width<float>(0, to.weight, to.compute, to.gradient, to.code_m, to.code_v) > 1;
    const int64_t whole = aligned ? n / kBlock : 0, end = ceil_div(n, kBlock);
    run<order, true>(stream_, num_sms_, to, 0, whole, n, pointer<float>(op.scale_1), op.options);
    run<order, false>(stream_, num_sms_, to, whole, end, n, pointer<float>(op.scale_1), op.options);
  });
}

}  // namespace moe::gpu
