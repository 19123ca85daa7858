// SPDX-License-Identifier: MIT
// Sums in f64 over whole tensors, the factor that clips a gradient, and the guard against spikes. Each block
// of kGrain elements has its own sum; the blocks are added in order.
#include <algorithm>
#include <cmath>

#include "cpu/cpu_ops.h"
#include "cpu/vector.h"
#include "ops/spike_guard_step.h"

namespace moe::cpu {
namespace {

constexpr int64_t kGrain = 1 << 14;

// sum of term(x[i]) over [0, n) in f64, in kWide interleaved sums.
template <class T, class Term>
double sum_block(const T* x, int64_t n, Term term) {
  constexpr int64_t kWide = 16;
  double part[kWide] = {};
  int64_t i = 0;
  for (; i + kWide <= n; i += kWide)
    for (int64_t lane = 0; lane < kWide; ++lane)
      part[lane] += term(static_cast<double>(to_float(x[i + lane])));
  for (int64_t lane = 0; i < n; ++i, ++lane) part[lane] += term(static_cast<double>(to_float(x[i])));
  double sum = 0;
  for (const double p : part) sum += p;
  return sum;
}

template <class T, class Term>
void add_sum(ThreadPool& pool, Scratch& scratch, Tensor& sum_1, const Tensor& x, Term term) {
  const int64_t n = x.numel(), blocks = (n + kGrain - 1) / kGrain;
  const T* in = x.as<T>();
  auto lease = scratch.borrow(Scratch::padded<double>(blocks));
  double* part = lease.take<double>(blocks);
  pool.parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    part[begin / kGrain] = sum_block(in + begin, end - begin, term);
  });
  double sum = 0;
  for (int64_t b = 0; b < blocks; ++b) sum += part[b];
  sum_1.as<double>()[0] += sum;
}

double norm_of(const Tensor& squares_n, float loss_scale) {
  const double* squares = squares_n.as<double>();
  double total = 0;
  for (int64_t i = 0; i < squares_n.numel(); ++i) total += squares[i];
  return std::sqrt(total) / loss_scale;
}

}  // namespace

void CpuOps::sum(Sum op) {
  op.check();
  add_sum<float>(pool_, scratch_, op.sum_1, op.x, [](double value) { return value; });
}

void CpuOps::sum_squares(SumSquares op) {
  op.check();
  with_f32_or_bf16(op.x.dtype(), [&]<class T>(T) {
    add_sum<T>(pool_, scratch_, op.sum_1, op.x, [](double value) { return value * value; });
  });
}

void CpuOps::clip_scale(ClipScale op) {
  op.check();
  const double factor = op.loss_scale, norm = norm_of(op.squares_n, op.loss_scale);
  float& scale = op.scale_1.as<float>()[0];
  if (!std::isfinite(norm))
    scale = -1;
  else
    scale =
        static_cast<float>((op.max_norm == 0 ? 1.0 : std::min(1.0, op.max_norm / (norm + 1e-6))) / factor);
}

void CpuOps::spike_guard(SpikeGuard op) {
  op.check();
  guard_step(op.scale_1.as<float>()[0], op.history_2H.as<double>(), op.seen_1.as<int32_t>()[0],
             op.history_2H.dim(1), op.loss_sum_1.as<double>()[0] / static_cast<double>(op.targets),
             norm_of(op.squares_n, op.loss_scale), op.sigma, SpikeGuard::kSkip);
}

}  // namespace moe::cpu
