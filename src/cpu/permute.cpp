// SPDX-License-Identifier: MIT
// Which row goes to which expert (a counting sort by expert, choice and token), and the two moves of rows.
#include <algorithm>
#include <cstring>

#include "cpu/cpu_ops.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

constexpr int64_t kRows = 32;
constexpr int64_t kPiece = 256;

// y = residual + sum of the chosen rows, piece by piece in f32, rounded once; residual may be y.
template <class T>
void combine_row(T* y, const T* residual, const T* x, const float* weight, const int32_t* row, int64_t k,
                 int64_t d) {
  for (int64_t begin = 0; begin < d; begin += kPiece) {
    const int64_t count = std::min(kPiece, d - begin);
    float sum[kPiece];
    if (residual == nullptr)
      std::fill(sum, sum + count, 0.0F);
    else
      load_row(sum, residual + begin, count);
    for (int64_t j = 0; j < k; ++j) {
      if (row[j] < 0) continue;
      const T* in = x + row[j] * d + begin;
      const float w = weight == nullptr ? 1.0F : weight[j];
      for (int64_t i = 0; i < count; ++i) sum[i] += w * to_float(in[i]);
    }
    store_row(y + begin, sum, count);
  }
}

}  // namespace

void CpuOps::route_plan(MakeRoutePlan op) {
  op.check();
  const int64_t n = op.expert_NK.dim(0), k = op.expert_NK.dim(1), e = op.plan.count_E.dim(0);
  const int32_t* expert = op.expert_NK.as<int32_t>();
  int32_t *count = op.plan.count_E.as<int32_t>(), *offset = op.plan.offset_E1.as<int32_t>();
  int32_t *slot = op.plan.slot_R.as<int32_t>(), *row = op.plan.row_NK.as<int32_t>();
  int32_t* first = op.plan.top1_count_E.as<int32_t>();
  auto lease = scratch_.borrow(2 * Scratch::padded<int32_t>(e));
  int32_t *taken = lease.take<int32_t>(e), *next = lease.take<int32_t>(e);  // of each expert
  // Who is kept, for now as 0 in place of a row.
  const int64_t group = op.capacity.tokens == 0 ? n : op.capacity.tokens;
  std::fill(count, count + e, 0);
  std::fill(first, first + e, 0);
  std::fill(offset, offset + e + 1, 0);
  for (int64_t begin = 0; begin < n; begin += group) {
    std::fill(taken, taken + e, 0);
    for (int64_t j = 0; j < k; ++j)
      for (int64_t t = begin; t < begin + group; ++t) {
        const int64_t assignment = t * k + j;
        const int32_t x = expert[assignment];
        CHECK(x >= -1 && x < e, "an expert that does not exist");
        row[assignment] = -1;
        if (x < 0) continue;
        ++count[x];
        first[x] += j == 0 ? 1 : 0;
        if (taken[x] == op.capacity.rows) continue;
        row[assignment] = 0;
        ++taken[x];
        ++offset[x + 1];
      }
  }
  for (int64_t i = 0; i < e; ++i) {
    next[i] = offset[i];
    offset[i + 1] += offset[i];
  }
  for (int64_t j = 0; j < k; ++j)
    for (int64_t t = 0; t < n; ++t) {
      const int64_t assignment = t * k + j;
      if (row[assignment] < 0) continue;
      int32_t& to = next[expert[assignment]];
      row[assignment] = to;
      slot[to++] = static_cast<int32_t>(assignment);
    }
}

void CpuOps::gather_rows(GatherRows op) {
  op.check();
  if (op.y_RD.numel() == 0) return;
  const int64_t k = op.y_RD.dim(0) / op.x_ND.dim(0), row = op.x_ND.bytes() / op.x_ND.dim(0);
  const int64_t used = op.plan.offset_E1.as<int32_t>()[op.plan.count_E.dim(0)];
  const int32_t* slot = op.plan.slot_R.as<int32_t>();
  char* y = static_cast<char*>(op.y_RD.data());
  const char* x = static_cast<const char*>(op.x_ND.data());
  pool_.parallel_for(used, kRows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      std::memcpy(y + r * row, x + slot[r] / k * row, static_cast<size_t>(row));
  });
}

void CpuOps::combine_rows(CombineRows op) {
  op.check();
  if (op.y_ND.numel() == 0) return;
  const int64_t n = op.y_ND.dim(0), d = op.y_ND.dim(1), k = op.x_RD.dim(0) / n;
  const float* weight = op.weight_NK.empty() ? nullptr : op.weight_NK.as<float>();
  const int32_t* row = op.plan.row_NK.as<int32_t>();
  with_type(op.y_ND.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* y = op.y_ND.as<T>();
    const T* residual = op.residual_ND.empty() ? nullptr : op.residual_ND.as<T>();
    const T* x = op.x_RD.as<T>();
    pool_.parallel_for(n, kRows, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t)
        combine_row(y + t * d, residual == nullptr ? nullptr : residual + t * d, x,
                    weight == nullptr ? nullptr : weight + t * k, row + t * k, k, d);
    });
  });
}

}  // namespace moe::cpu
