// SPDX-License-Identifier: MIT
// Which row goes to which expert, and the two moves of rows: a warp a row, 16 bytes a lane.
#include <algorithm>

#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/portable/counting_sort.cuh"

namespace moe::gpu {
namespace {

constexpr int kWarps = 4;  // rows of a block
constexpr int kPlanThreads = 256;

__device__ __forceinline__ int64_t row_of_warp() {
  return int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
}

// The items to be sorted: all first choices by token, then all second ones, and so on. Each choice begins a
// tile of the sort, and so has some items past the last token.
struct Choice {
  const int32_t* expert_NK;
  int tokens, tiled_tokens, choices, experts;

  __device__ bool is_padding(int i) const { return i % tiled_tokens >= tokens; }
  __device__ int assignment(int i) const { return i % tiled_tokens * choices + i / tiled_tokens; }
  __device__ int operator()(int i) const {
    if (is_padding(i)) return -1;
    const int expert = expert_NK[assignment(i)];
    if (expert < -1 || expert >= experts) __trap();  // nothing after it could be right
    return expert;
  }
};

// One warp for each group of tokens: kept_NK = the expert where it has room left in this group, in the order
// of a plan, else -1.
__global__ void keep_to_capacity_kernel(int32_t* kept_NK, const int32_t* expert_NK, int tokens, int choices,
                                        int experts, int capacity) {
  constexpr int batch = 8;                   // loads under way at once
  int* const taken = dynamic_shared<int>();  // by expert
  const int lane = static_cast<int>(threadIdx.x);
  for (int e = lane; e < experts; e += 32) taken[e] = 0;
  __syncwarp();
  const int64_t first = int64_t{blockIdx.x} * tokens * choices;
  for (int choice = 0; choice < choices; ++choice)
    for (int begin = 0; begin < tokens; begin += 32 * batch) {
      const auto at = [&](int i) { return first + int64_t{begin + 32 * i + lane} * choices + choice; };
      const auto inside = [&](int i) { return begin + 32 * i + lane < tokens; };
      int expert[batch];
#pragma unroll
      for (int i = 0; i < batch; ++i) expert[i] = inside(i) ? expert_NK[at(i)] : -1;
#pragma unroll
      for (int i = 0; i < batch; ++i) {
        const int e = expert[i];
        const unsigned same = __match_any_sync(kAllLanes, static_cast<unsigned>(e));
        const int lower = __popc(same & ((1U << lane) - 1));
        if (inside(i)) kept_NK[at(i)] = e >= 0 && taken[e] + lower < capacity ? e : -1;
        __syncwarp();
        if (e >= 0 && lower == 0) taken[e] += __popc(same);
        __syncwarp();
      }
    }
}

struct GiveRow {
  int32_t* slot_R;
  int32_t* row_NK;
  const int32_t* offset_E1;
  Choice choice;

  __device__ void operator()(int i, int expert, int rank) const {
    if (choice.is_padding(i)) return;
    const int assignment = choice.assignment(i), row = expert < 0 ? 0 : offset_E1[expert] + rank;
    const bool kept = expert >= 0 && row < offset_E1[expert + 1];
    row_NK[assignment] = kept ? row : -1;
    if (kept) slot_R[row] = assignment;
  }
};

struct RowsOfExperts {
  int32_t *offset_E1, *count_E, *top1_count_E;
};

// One block: the experts' counts over all tiles and over those of first choices, and where each expert's rows
// begin.
__global__ void plan_experts_kernel(RowsOfExperts out, int32_t* tile_counts, int tiles, int first_tiles,
                                    int experts, int64_t capacity) {
  int begin = 0;
  for (int low = 0; low < experts; low += kPlanThreads) {
    const int e = low + static_cast<int>(threadIdx.x);
    int count = 0;
    if (e < experts)
      out.count_E[e] = count =
          count_before(tile_counts, tiles, experts, e, first_tiles, out.top1_count_E + e);
    const int kept = count < capacity ? count : static_cast<int>(capacity);
    int sum = 0;
    const int before = block_sum_before(kept, &sum);
    if (e < experts) out.offset_E1[e] = begin + before;
    begin += sum;
  }
  if (threadIdx.x == 0) out.offset_E1[experts] = begin;
}

template <class T, int width>
__global__ void gather_kernel(T* y_RD, const T* x_ND, const int32_t* slot_R, const int32_t* rows, int choices,
                              int d) {
  const int64_t row = row_of_warp();
  if (row >= *rows) return;
  const T* const x = x_ND + int64_t{slot_R[row] / choices} * d;
#pragma unroll 4
  for (int c = static_cast<int>(threadIdx.x) % 32 * width; c < d; c += 32 * width)
    store(y_RD + row * d + c, load<width>(x + c));
}

// residual may be y.
template <class T, int width>
__global__ void combine_kernel(T* y_ND, const T* residual_ND, const T* x_RD, const float* weight_NK,
                               const int32_t* row_NK, int64_t tokens, int choices, int d) {
  const int64_t n = row_of_warp();
  if (n >= tokens) return;
#pragma unroll 2
  for (int c = static_cast<int>(threadIdx.x) % 32 * width; c < d; c += 32 * width) {
    float sum[width] = {};
    if (residual_ND != nullptr) {
      const auto r = load<width>(residual_ND + n * d + c);
#pragma unroll
      for (int j = 0; j < width; ++j) sum[j] = to_float(r.v[j]);
    }
#pragma unroll 2
    for (int k = 0; k < choices; ++k) {
      const int row = row_NK[n * choices + k];
      if (row < 0) continue;
      const float w = weight_NK == nullptr ? 1.0F : weight_NK[n * choices + k];
      const auto x = load<width>(x_RD + int64_t{row} * d + c);
#pragma unroll
      for (int j = 0; j < width; ++j) sum[j] += w * to_float(x.v[j]);
    }
    Vec<T, width> y;
#pragma unroll
    for (int j = 0; j < width; ++j) y.v[j] = from_float<T>(sum[j]);
    store(y_ND + n * d + c, y);
  }
}

}  // namespace

void GpuOps::route_plan(MakeRoutePlan op) {
  op.check();
  const int64_t n = op.expert_NK.dim(0), choices = op.expert_NK.dim(1), first_tiles = ceil_div(n, kSortTile);
  const int64_t tiles = choices * first_tiles, items = tiles * kSortTile;
  CHECK(items < (int64_t{1} << 31), op.expert_NK.describe());
  const int64_t E = op.plan.count_E.dim(0);
  const int experts = static_cast<int>(E);
  Choice choice{pointer<int32_t>(op.expert_NK), static_cast<int>(n),
                static_cast<int>(first_tiles * kSortTile), static_cast<int>(choices), experts};
  RowsOfExperts rows{pointer<int32_t>(op.plan.offset_E1), pointer<int32_t>(op.plan.count_E),
                     pointer<int32_t>(op.plan.top1_count_E)};
  auto memory = workspace_.carve();
  int32_t* const counts = memory.take<int32_t>(tiles * experts);
  const size_t shared = sizeof(int) * static_cast<size_t>(experts);
  const auto place_experts = [&](int64_t most) {
    if (tiles > 0)
      launch(stream_, count_keys_kernel<Choice>, {blocks(tiles), kSortThreads, shared}, counts,
             static_cast<int>(items), experts, choice);
    launch(stream_, plan_experts_kernel, {1, kPlanThreads}, rows, counts, static_cast<int>(tiles),
           static_cast<int>(first_tiles), experts, most);
  };
  const bool in_groups = op.capacity.rows < Capacity::kNoLimit && op.capacity.tokens > 0 && n > 0;
  place_experts(in_groups ? Capacity::kNoLimit : op.capacity.rows);
  if (in_groups) {
    // All have been counted; now again those that are kept, where the plan will have its rows.
    int32_t* const kept_NK = pointer<int32_t>(op.plan.row_NK);
    launch(stream_, keep_to_capacity_kernel, {blocks(n / op.capacity.tokens), 32, shared}, kept_NK,
           choice.expert_NK, static_cast<int>(op.capacity.tokens), static_cast<int>(choices), experts,
           static_cast<int>(std::min(op.capacity.rows, n * choices)));
    choice.expert_NK = kept_NK;
    rows.count_E = memory.take<int32_t>(E);
    rows.top1_count_E = memory.take<int32_t>(E);
    place_experts(Capacity::kNoLimit);
  }
  const GiveRow give{pointer<int32_t>(op.plan.slot_R), pointer<int32_t>(op.plan.row_NK), rows.offset_E1,
                     choice};
  if (tiles > 0)
    launch(stream_, place_items_kernel<Choice, GiveRow>, {blocks(tiles), kSortThreads, kSortWarps * shared},
           counts, static_cast<int>(items), experts, choice, give);
}

void GpuOps::gather_rows(GatherRows op) {
  op.check();
  if (op.y_RD.numel() == 0) return;
  const int64_t rows = op.y_RD.dim(0), d = op.y_RD.dim(1), choices = rows / op.x_ND.dim(0);
  with_activation(op.y_RD.dtype(), [&]<class T>() {
    const auto kernel = vector_width<T>(d, op.y_RD.data(), op.x_ND.data()) == 1
                            ? gather_kernel<T, 1>
                            : gather_kernel<T, 16 / sizeof(T)>;
    launch(stream_, kernel, {blocks(ceil_div(rows, kWarps)), kWarps * 32}, pointer<T>(op.y_RD),
           pointer<T>(op.x_ND), pointer<int32_t>(op.plan.slot_R),
           pointer<int32_t>(op.plan.offset_E1) + op.plan.count_E.dim(0), static_cast<int>(choices),
           static_cast<int>(d));
  });
}

void GpuOps::combine_rows(CombineRows op) {
  op.check();
  if (op.y_ND.numel() == 0) return;
  const int64_t n = op.y_ND.dim(0), d = op.y_ND.dim(1);
  with_activation(op.y_ND.dtype(), [&]<class T>() {
    const int width = vector_width<T>(d, op.y_ND.data(), op.residual_ND.data(), op.x_RD.data());
    const auto kernel = width == 1 ? combine_kernel<T, 1> : combine_kernel<T, 16 / sizeof(T)>;
    launch(stream_, kernel, {blocks(ceil_div(n, kWarps)), kWarps * 32}, pointer<T>(op.y_ND),
           pointer<T>(op.residual_ND), pointer<T>(op.x_RD), pointer<float>(op.weight_NK),
           pointer<int32_t>(op.plan.row_NK), n, static_cast<int>(op.x_RD.dim(0) / n), static_cast<int>(d));
  });
}

}  // namespace moe::gpu
