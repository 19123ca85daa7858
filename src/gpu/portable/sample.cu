// SPDX-License-Identifier: MIT
// sample: a block a row. Nothing is sorted: logits have keys in their order, and the key at which a sum over
// the most likely tokens reaches a goal is found digit by digit.
#include <algorithm>
#include <cmath>

#include "gpu/block_reduce.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"

namespace moe::gpu {
namespace {

constexpr int kThreads = 1024, kWarps = kThreads / 32;
constexpr int kDigitBits = 2;
constexpr int kLimits = (1 << kDigitBits) - 1;  // between the values of a digit
constexpr unsigned kSign = 0x80000000U;

// Bits of an f32 from T that are the same in all numbers of one sign.
template <class T>
constexpr int kUnused = 0;
template <>
constexpr int kUnused<bf16> = 16;
template <>
constexpr int kUnused<f16> = 13;

template <class T>
struct Row {
  const T* x;
  uint64_t* weight;  // of each token; written by weigh()
  int columns, except;
  double sharpness;
  float top;  // the largest logit

  __device__ float logit(int i) const { return i == except ? -INFINITY : to_float(x[i]); }
  __device__ double likelihood(float of) const {
    return exp((static_cast<double>(of) - static_cast<double>(top)) * sharpness);
  }
  // In the order of the logits; both zeros have the same.
  __device__ unsigned key(int i) const {
    const unsigned bits = __float_as_uint(logit(i) + 0.0F);
    return ((bits & kSign) != 0 ? ~bits : bits | kSign) >> kUnused<T>;
  }
  __device__ uint64_t weight_of_key(unsigned key) const {
    const unsigned ordered = key << kUnused<T>, below = (1U << kUnused<T>)-1;
    return weight_units(
        likelihood(__uint_as_float((ordered & kSign) != 0 ? ordered & ~kSign : ~(ordered | below))));
  }
};

// What is added up over tokens.
template <class T>
struct OnePerToken {
  __device__ uint64_t operator()(const Row<T>&, int) const { return 1; }
};
template <class T>
struct WeightOfToken {
  uint64_t least;  // lighter ones do not count
  __device__ uint64_t operator()(const Row<T>& row, int i) const {
    return row.weight[i] < least ? 0 : row.weight[i];
  }
};
template <class T>
struct HasKey {
  unsigned key;
  __device__ uint64_t operator()(const Row<T>& row, int i) const { return row.key(i) == key ? 1 : 0; }
};

template <class T, class Term>
__device__ uint64_t sum_of(const Row<T>& row, const Term& term) {
  uint64_t sum = 0;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < row.columns; i += kThreads) sum += term(row, i);
  return block_sum(sum);
}

// The largest logit, then all weights. Whether all of them are numbers.
template <class T>
__device__ bool weigh(Row<T>& row) {
  float top = -INFINITY;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < row.columns; i += kThreads) top = fmaxf(top, row.logit(i));
  row.top = block_max(top);
  int bad = 0;
  for (int i = static_cast<int>(threadIdx.x); i < row.columns; i += kThreads) {
    const double likelihood = row.likelihood(row.logit(i));
    if (std::isnan(likelihood))
      bad = 1;
    else
      row.weight[i] = weight_units(likelihood);
  }
  return block_sum(bad) == 0;
}

// The first token at which the sum over it and those of lower ids reaches the goal. A warp has tokens that
// follow each other.
template <class T, class Term>
__device__ int first_reaching(const Row<T>& row, const Term& term, uint64_t goal) {
  __shared__ uint64_t of_warps[kWarps];
  __shared__ int found;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int strips = static_cast<int>(ceil_div(row.columns, kThreads));
  const auto term_of = [&](int strip) {
    const int i = (warp * strips + strip) * 32 + lane;
    return i < row.columns ? term(row, i) : 0;
  };
  uint64_t sum = 0;
  for (int strip = 0; strip < strips; ++strip) sum += term_of(strip);
  sum = warp_sum(sum);
  __syncthreads();
  if (lane == 0) of_warps[warp] = sum;
  __syncthreads();
  uint64_t before = 0;
  for (int w = 0; w < warp; ++w) before += of_warps[w];
  if (before < goal && before + sum >= goal)
    for (int strip = 0;; ++strip) {
      uint64_t upto = term_of(strip);
#pragma unroll
      for (unsigned step = 1; step < 32; step *= 2) {
        const uint64_t below = __shfl_up_sync(kAllLanes, upto, step);
        if (lane >= static_cast<int>(step)) upto += below;
      }
      const unsigned reached = __ballot_sync(kAllLanes, before + upto >= goal);
      if (reached == 0) {
        before += __shfl_sync(kAllLanes, upto, 31);
        continue;
      }
      if (lane == 0) found = (warp * strips + strip) * 32 + __ffs(static_cast<int>(reached)) - 1;
      break;
    }
  __syncthreads();
  return found;
}

// Among the tokens in the order of their logits, those of equal ones by their ids.
struct Place {
  unsigned key;
  uint64_t above;  // the sum over the tokens of larger keys
};

// Where the sum reaches the goal, which is in [1, the whole sum].
template <class T, class Term>
__device__ Place place_of(const Row<T>& row, const Term& term, uint64_t goal) {
  __shared__ uint64_t of_warps[kLimits][kWarps];
  constexpr int bits = 32 - kUnused<T>;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  Place place{0, 0};
  for (int shift = (bits - 1) / kDigitBits * kDigitBits; shift >= 0; shift -= kDigitBits) {
    uint64_t sum[kLimits] = {};  // of keys that have at least digit j + 1 here
#pragma unroll 4
    for (int i = static_cast<int>(threadIdx.x); i < row.columns; i += kThreads) {
      const unsigned key = row.key(i);
      const uint64_t value = term(row, i);
#pragma unroll
      for (unsigned j = 0; j < kLimits; ++j) sum[j] += key >= place.key + ((j + 1) << shift) ? value : 0;
    }
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kLimits; ++j) {
      sum[j] = warp_sum(sum[j]);
      if (lane == 0) of_warps[j][warp] = sum[j];
    }
    __syncthreads();
    unsigned digit = 0;
#pragma unroll
    for (int j = kLimits - 1; j >= 0; --j) {  // a larger limit has a smaller sum
      const uint64_t all = warp_sum(of_warps[j][lane]);
      if (all < goal)
        place.above = all;
      else if (digit == 0)
        digit = static_cast<unsigned>(j) + 1;
    }
    place.key += digit << shift;
  }
  return place;
}

// The sum over the tokens up to the one at which it reaches the goal, and how many of the key are in it.
struct Reached {
  unsigned key;
  uint64_t count, sum;
};
template <class T>
__device__ Reached reach(const Row<T>& row, uint64_t goal) {
  const Place place = place_of(row, WeightOfToken<T>{0}, goal);
  const uint64_t weight = row.weight_of_key(place.key), count = (goal - place.above + weight - 1) / weight;
  return {place.key, count, place.above + count * weight};
}

// The sum over the `count` most likely tokens.
template <class T>
__device__ uint64_t sum_of_most_likely(const Row<T>& row, uint64_t count) {
  const Place place = place_of(row, OnePerToken<T>{}, count);
  uint64_t above = 0;
  for (int i = static_cast<int>(threadIdx.x); i < row.columns; i += kThreads)
    above += row.key(i) > place.key ? row.weight[i] : 0;
  return block_sum(above) + (count - place.above) * row.weight_of_key(place.key);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    sample_kernel(int32_t* id_N, uint64_t* weight_NV, const T* x_NV, const int32_t* draw_N, int64_t stride,
                  int columns, int except, SamplingRule rule) {
  Row<T> row{.x = x_NV + blockIdx.x * stride,
             .weight = weight_NV + blockIdx.x * int64_t{columns},
             .columns = columns,
             .except = except,
             .sharpness = rule.sharpness(),
             .top = 0};
  if (!weigh(row)) {
    if (threadIdx.x == 0) id_N[blockIdx.x] = Sample::kNone;
    return;
  }
  const auto draw = static_cast<uint32_t>(draw_N[blockIdx.x]);
  const WeightOfToken<T> heavy{weight_units(rule.min_p)};
  uint64_t total = sum_of(row, heavy);
  int id = 0;
  if (!rule.sorts()) {
    id = first_reaching(row, heavy, draw_goal(total, draw));
  } else {
    // Each filter keeps the most likely tokens. The fewest count.
    uint64_t kept = rule.top_k > 0 && rule.top_k < columns
                        ? sum_of_most_likely(row, static_cast<uint64_t>(rule.top_k))
                        : sum_of(row, WeightOfToken<T>{0});
    if (rule.top_p < 1) kept = reach(row, nucleus_goal(kept, rule.top_p)).sum;
    total = kept < total ? kept : total;
    const Reached drawn = reach(row, draw_goal(total, draw));
    id = first_reaching(row, HasKey<T>{drawn.key}, drawn.count);
  }
  if (threadIdx.x == 0) id_N[blockIdx.x] = id;
}

}  // namespace

void GpuOps::sample(Sample op) {
  op.check();
  const int64_t n = op.x_NV.dim(0), stride = op.x_NV.dim(1);
  // So many rows at once have their weights in the workspace.
  const int64_t most = workspace_.bytes() / static_cast<int64_t>(sizeof(uint64_t)) / op.columns;
  CHECK(most > 0, "sample: a row of " + op.x_NV.describe());
  uint64_t* const weight = workspace_.carve().take<uint64_t>(std::min(n, most) * op.columns);
  with_activation(op.x_NV.dtype(), [&]<class T>() {
    for (int64_t begin = 0; begin < n; begin += most)
      launch(stream_, sample_kernel<T>, {blocks(std::min(most, n - begin)), kThreads},
             pointer<int32_t>(op.id_N) + begin, weight, pointer<T>(op.x_NV) + begin * stride,
             pointer<int32_t>(op.draw_N) + begin, stride, static_cast<int>(op.columns),
             static_cast<int>(op.except), op.rule);
  });
}

}  // namespace moe::gpu
