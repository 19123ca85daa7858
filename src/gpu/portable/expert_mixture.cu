// SPDX-License-Identifier: MIT
// expert_mixture of few tokens, in two kernels that read the weights of the chosen experts and of no others
// (few_rows.cuh). Experts go by slots: of the assignments n K + k, the first that has an expert takes all of
// that expert's; where there are more assignments than experts, a slot is an expert.
#include <algorithm>

#include "gpu/block_reduce.cuh"
#include "gpu/dynamic_shared.cuh"
#include "gpu/early_start.cuh"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/portable/few_rows.cuh"
#include "gpu/sigmoid.cuh"

namespace moe::gpu {
namespace {

constexpr int kMostAssignments = 512;
constexpr int kUpWarps = 8, kDownWarps = 16;
constexpr int kUpAhead = 4, kDownAhead = 8;  // steps of a warp whose weights are under way at once

template <class T>
struct Mixture {
  T *y_ND, *a_RF;  // a by assignment
  const T *residual_ND, *x_ND;
  const int32_t* expert_NK;
  const float* weight_NK;
  const T *w_E2FD, *w_EDF;
  int assignments, choices, experts, width, inner;
  __host__ __device__ bool by_expert() const { return assignments > experts; }
  __host__ __device__ int slots() const { return assignments < experts ? assignments : experts; }
};

// A slot's expert and its assignments in order, in `list`, which has room for kFewRows. For a whole warp.
// count 0: the slot has nothing to do.
struct SlotOfExpert {
  int expert, count = 0;

  __device__ SlotOfExpert(int* list, const int32_t* expert_NK, int slot, int assignments, bool by_expert) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    int here = lane < assignments ? expert_NK[lane] : -1;
    // One read after the other would double the time until the weights are asked for.
    const int of_slot = __shfl_sync(kAllLanes, here, slot % 32);
    expert = by_expert ? slot : slot < 32 ? of_slot : expert_NK[slot];
    for (int first = 0; first < assignments && expert >= 0; first += 32) {
      const int i = first + lane;
      if (first > 0) here = i < assignments ? expert_NK[i] : -1;
      const bool mine = here == expert;
      const unsigned found = __ballot_sync(kAllLanes, mine ? 1 : 0);
      if (!by_expert && found != 0 && count == 0 && first + __ffs(static_cast<int>(found)) - 1 < slot) return;
      const int place = count + __popc(found & ((1U << lane) - 1));
      if (mine && place < kFewRows) list[place] = i;
      count += __popc(found);
    }
    count = min(count, static_cast<int>(kFewRows));  // more than tokens is a caller's mistake
    __syncwarp();
  }
};

// h = x w^T for 8 gates and the 8 values behind them, then a = gate * silu(up). A block's warps share the
// inner dimension and add their sums in order. x: rows by list / choices.
template <class T>
__global__ void __launch_bounds__(32 * kUpWarps, 2) up_kernel(Mixture<T> m) {
  __shared__ int lists[kUpWarps][kFewRows];
  __shared__ float sums[kUpWarps][2][kRowTile][kColumnTile];
  const int warp = static_cast<int>(threadIdx.x) / 32;
  int* const list = lists[warp];
  let_next_kernel_start();
  wait_for_earlier_kernels();
  const SlotOfExpert slot(list, m.expert_NK, static_cast<int>(blockIdx.y), m.assignments, m.by_expert());
  if (slot.count == 0) return;
  const LaneOfProduct lane;
  const T* const gate =
      m.w_E2FD + (int64_t{slot.expert} * 2 * m.inner + blockIdx.x * kColumnTile + lane.row) * m.width;
  const T* const up = gate + int64_t{m.inner} * m.width;
  for (int first = 0; first < slot.count; first += kRowTile) {
    const int low = first + lane.row, high = low + 8;
    const T* const x_low = low < slot.count ? m.x_ND + int64_t{list[low] / m.choices} * m.width : nullptr;
    const T* const x_high = high < slot.count ? m.x_ND + int64_t{list[high] / m.choices} * m.width : nullptr;
    float c[2][4] = {};
    for (int begin = warp * kStep; begin < m.width; begin += kUpAhead * kUpWarps * kStep) {
      Piece w[kUpAhead][2], a[kUpAhead], b[kUpAhead];
#pragma unroll
      for (int i = 0; i < kUpAhead; ++i) {
        const int k = begin + i * kUpWarps * kStep + lane.column;
        if (k >= m.width) continue;
        w[i][0] = load_piece(gate + k);
        w[i][1] = load_piece(up + k);
        if (x_low != nullptr) a[i] = load_piece(x_low + k);
        if (x_high != nullptr) b[i] = load_piece(x_high + k);
      }
#pragma unroll
      for (int i = 0; i < kUpAhead; ++i)
#pragma unroll
        for (int j = 0; j < 2; ++j) multiply_step<T>(c[j], a[i], b[i], w[i][j]);
    }
#pragma unroll
    for (int j = 0; j < 2; ++j)
      for_each_element(c[j], [&](int row, int column, float value) { sums[warp][j][row][column] = value; });
    __syncthreads();
    const int row = static_cast<int>(threadIdx.x) / kColumnTile;
    const int column = static_cast<int>(threadIdx.x) % kColumnTile;
    if (row < kRowTile && first + row < slot.count) {
      float h[2] = {};
#pragma unroll
      for (int i = 0; i < kUpWarps; ++i) h[0] += sums[i][0][row][column], h[1] += sums[i][1][row][column];
      const float g = to_float(from_float<T>(h[0])), u = to_float(from_float<T>(h[1]));
      m.a_RF[int64_t{list[first + row]} * m.inner + blockIdx.x * kColumnTile + column] =
          from_float<T>(g * u * sigmoid(u));
    }
    __syncthreads();
  }
}

// The assignments' results at 8 columns, in parts of the inner dimension: [parts][assignments][8].
struct Results {
  float* values;
  int assignments;
  __device__ float& at(int part, int assignment, int column) const {
    return values[(part * assignments + assignment) * kColumnTile + column];
  }
};

// An item is a part of the inner dimension of a slot: steps part, part + parts, ...
template <class T>
__device__ __forceinline__ void multiply_down(const Mixture<T>& m, const Results& results,
                                              const SlotOfExpert& slot, const int* list, int part,
                                              int parts) {
  const LaneOfProduct lane;
  const T* const w =
      m.w_EDF + (int64_t{slot.expert} * m.width + blockIdx.x * kColumnTile + lane.row) * m.inner;
  for (int first = 0; first < slot.count; first += kRowTile) {
    const int low = first + lane.row, high = low + 8;
    const T* const a_low = low < slot.count ? m.a_RF + int64_t{list[low]} * m.inner : nullptr;
    const T* const a_high = high < slot.count ? m.a_RF + int64_t{list[high]} * m.inner : nullptr;
    float c[4] = {};
    for (int begin = part * kStep; begin < m.inner; begin += kDownAhead * parts * kStep) {
      Piece pieces[kDownAhead];
#pragma unroll
      for (int i = 0; i < kDownAhead; ++i) {
        const int k = begin + i * parts * kStep + lane.column;
        if (k < m.inner) pieces[i] = load_piece(w + k);
      }
#pragma unroll
      for (int i = 0; i < kDownAhead; ++i) {
        const int k = begin + i * parts * kStep + lane.column;
        const Piece a = a_low != nullptr && k < m.inner ? load_piece(a_low + k) : Piece{};
        const Piece b = a_high != nullptr && k < m.inner ? load_piece(a_high + k) : Piece{};
        multiply_step<T>(c, a, b, pieces[i]);
      }
    }
    for_each_element(c, [&](int row, int column, float value) {
      if (first + row < slot.count) results.at(part, list[first + row], column) = value;
    });
  }
}

// A block takes 8 columns of y for all tokens; each of its warps, one item after another.
template <class T>
__global__ void __launch_bounds__(32 * kDownWarps, 1) down_kernel(Mixture<T> m, int parts) {
  __shared__ int lists[kDownWarps][kFewRows];
  __shared__ int32_t experts[kMostAssignments];
  const Results results{dynamic_shared<float>(), m.assignments};
  let_next_kernel_start();
  wait_for_earlier_kernels();
  const int warp = static_cast<int>(threadIdx.x) / 32, tokens = m.assignments / m.choices;
  const int token = static_cast<int>(threadIdx.x) / kColumnTile;
  const int column = static_cast<int>(threadIdx.x) % kColumnTile;
  const int64_t at = int64_t{token} * m.width + blockIdx.x * kColumnTile + column;
  static_assert(kFewRows * kColumnTile <= 32 * kDownWarps, "an element a thread");
  // Read in good time, before the weights.
  float y = m.residual_ND != nullptr && token < tokens ? to_float(m.residual_ND[at]) : 0.0F;
  for (int i = static_cast<int>(threadIdx.x); i < m.assignments; i += 32 * kDownWarps)
    experts[i] = m.expert_NK[i];
  __syncthreads();
  for (int item = warp; item < m.slots() * parts; item += kDownWarps) {
    const SlotOfExpert slot(lists[warp], experts, item / parts, m.assignments, m.by_expert());
    if (slot.count > 0) multiply_down(m, results, slot, lists[warp], item % parts, parts);
    __syncwarp();  // before the next item's list
  }
  __syncthreads();
  if (token >= tokens) return;
  for (int k = token * m.choices; k < (token + 1) * m.choices; ++k) {
    if (experts[k] < 0) continue;
    float sum = 0;
    for (int part = 0; part < parts; ++part) sum += results.at(part, k, column);
    y = fmaf(m.weight_NK[k], sum, y);
  }
  m.y_ND[at] = from_float<T>(y);
}

template <class T>
void run(cudaStream_t stream, ExpertMixture& op) {
  const Mixture<T> m{.y_ND = pointer<T>(op.y_ND),
                     .a_RF = pointer<T>(op.a_RF),
                     .residual_ND = pointer<T>(op.residual_ND),
                     .x_ND = pointer<T>(op.x_ND),
                     .expert_NK = pointer<int32_t>(op.expert_NK),
                     .weight_NK = pointer<float>(op.weight_NK),
                     .w_E2FD = pointer<T>(op.w_E2FD),
                     .w_EDF = pointer<T>(op.w_EDF),
                     .assignments = static_cast<int>(op.expert_NK.numel()),
                     .choices = static_cast<int>(op.expert_NK.dim(1)),
                     .experts = static_cast<int>(op.w_E2FD.dim(0)),
                     .width = static_cast<int>(op.x_ND.dim(1)),
                     .inner = static_cast<int>(op.a_RF.dim(1))};
  const auto slots = static_cast<unsigned>(m.slots());
  launch_early(stream, up_kernel<T>, {dim3(blocks(m.inner / kColumnTile), slots), 32 * kUpWarps}, m);
  // Depends on the inner dimension alone, so that the tokens beside one do not change its sums.
  const int parts = std::clamp(m.inner / (kStep * kDownAhead), 1, 4);
  const size_t bytes = sizeof(float) * static_cast<size_t>(parts * m.assignments * kColumnTile);
  launch_early(stream, down_kernel<T>, {blocks(m.width / kColumnTile), 32 * kDownWarps, bytes}, m, parts);
}

}  // namespace

void GpuOps::expert_mixture(ExpertMixture op) {
  op.check();
  const bool takes = few_rows_take(op.x_ND, op.x_ND.dim(1)) && op.a_RF.dim(1) % 8 == 0 &&
                     op.expert_NK.numel() <= kMostAssignments &&
                     aligned_to_16(op.x_ND, op.a_RF, op.w_E2FD, op.w_EDF);
  if (!takes) return Ops::expert_mixture(op);
  op.x_ND.dtype() == DType::bf16 ? run<bf16>(stream_, op) : run<f16>(stream_, op);
}

}  // namespace moe::gpu
