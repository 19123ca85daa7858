// SPDX-License-Identifier: MIT
// NorMuon's rows. A task is a matrix: its two passes find it in the cache.
#include <cmath>

#include "cpu/cpu_ops.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

// Mean square of a row.
template <class X>
double mean_square(const X* row, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::pow(static_cast<double>(to_float(row[i])), 2);
  return sum / static_cast<double>(n);
}

template <class X>
void normalise_matrix(const NormaliseRows& op, int64_t b, double* factor) {
  const MatrixStack& stack = op.stack;
  const double beta2 = op.beta2;
  X* const x = Tensor(op.x).as<X>() + b * stack.elements();
  float* const v = Tensor(op.v).as<float>();
  double before = 0, after = 0;
  for (int64_t i = 0; i < stack.rows; ++i) {
    const double r = mean_square(x + i * stack.cols, stack.cols);
    float& moment = v[stack.flat_row(b, i)];
    moment = static_cast<float>(beta2 * moment + (1 - beta2) * r);
    factor[i] = 1 / (std::sqrt(static_cast<double>(moment)) + NormaliseRows::kEpsilon);
    before += r;
    after += factor[i] * factor[i] * r;
  }
  const double same_norm = after > 0 ? std::sqrt(before / after) : 0;
  for (int64_t i = 0; i < stack.rows; ++i) {
    const auto scale = static_cast<float>(factor[i] * same_norm);
    for (int64_t j = 0; j < stack.cols; ++j) {
      X& value = x[i * stack.cols + j];
      value = from_float<X>(scale * to_float(value));
    }
  }
}

}  // namespace

void CpuOps::normalise_rows(NormaliseRows op) {
  op.check();
  if (op.scale_1.as<float>()[0] < 0) return;
  const MatrixStack& stack = op.stack;
  const int32_t* const active = op.active_B.empty() ? nullptr : op.active_B.as<int32_t>();
  auto lease = scratch_.borrow(Scratch::padded<double>(stack.count * stack.rows));
  auto* const factor = lease.take<double>(stack.count * stack.rows);
  with_f32_or_bf16(op.x.dtype(), [&]<class X>(X) {
    pool_.parallel_for(stack.count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b)
        if (active == nullptr || active[b] != 0) normalise_matrix<X>(op, b, factor + b * stack.rows);
    });
  });
}

}  // namespace moe::cpu
