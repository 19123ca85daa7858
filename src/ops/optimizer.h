// SPDX-License-Identifier: MIT
// Sums, the clipping factor and the optimizer's steps. Letters, types and what holds for every op: ops/ops.h.
// docs/numerics.md states both update orders of AdamW and the 8-bit format.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace moe {

inline constexpr int64_t kAdamBlock = 256;  // elements that share one absmax

struct AdamW {
  enum class Order : uint8_t { pytorch, bitsandbytes };
  float learning_rate = 0, beta1 = 0.9F, beta2 = 0.95F, epsilon = 1e-8F, weight_decay = 0;
  int64_t step = 1;  // counts from 1
  Order order = Order::pytorch;
  // Decay only where the step shrinks the weight (Chen et al. 2025, arXiv 2510.12402).
  bool cautious = false;
  // Of the random numbers that round a bf16 weight (ops/stochastic_rounding.h): the run's, the tensor's, and
  // the place in the whole tensor of the first element at hand, a multiple of 256.
  uint64_t seed = 0, stream = 0;
  int64_t first = 0;
};

// sum_1 f64 += sum of x (f32), accumulated in f64 in a fixed order.
struct Sum {
  static constexpr const char* name = "sum";
  static constexpr const char* phase = "other";
  Tensor sum_1;
  const Tensor x;

  void check() const;
  double bytes() const;
};

// sum_1 f64 += sum of x^2 (x f32 or bf16), accumulated in f64 in a fixed order.
struct SumSquares {
  static constexpr const char* name = "sum_squares";
  static constexpr const char* phase = "optimizer";
  Tensor sum_1;
  const Tensor x;

  void check() const;
  double bytes() const;
};

// norm = sqrt(sum over squares_n) / loss_scale (f64), where loss_scale is a factor that all gradients carry.
// scale_1 f32 = min(1, max_norm / (norm + 1e-6)) / loss_scale, or 1 / loss_scale when max_norm is 0, or -1
// when norm is not finite.
struct ClipScale {
  static constexpr const char* name = "clip_scale";
  static constexpr const char* phase = "optimizer";
  Tensor scale_1;
  const Tensor squares_n;
  float max_norm, loss_scale;

  void check() const;
  double bytes() const;
};

// Whether a step is a spike, which is not to be learnt from (OLMo-core's SkipStepOptimizer):
//   loss = loss_sum_1 / targets, or norm = sqrt(sum over squares_n) / loss_scale,
// is more than `sigma` standard deviations (of n - 1) above the mean of those before it. H steps are
// remembered, and at least H / 2 are asked for. scale_1 becomes kSkip then. Loss and norm are remembered
// either way, so that a new level becomes the usual one.
// history_2H f64: a ring of losses, and one of norms. seen_1 i32: how many were put there.
// scale_1 < 0 already (not finite): nothing changes.
struct SpikeGuard {
  static constexpr const char* name = "spike_guard";
  static constexpr const char* phase = "optimizer";
  static constexpr float kSkip = -2;
  Tensor scale_1, history_2H, seen_1;
  const Tensor loss_sum_1, squares_n;  // f64
  int64_t targets;
  float loss_scale;
  double sigma;

  void check() const;
  double bytes() const;
};

// One step of AdamW (Loshchilov & Hutter 2019) on flat tensors of n elements: g = gradient * scale. The
// update order is AdamW::order. Shapes may differ where numbers of elements agree.
// weight (f32, or bf16) is updated; a bf16 one is rounded up or down at random (ops/stochastic_rounding.h).
// compute (bf16 or empty; empty for a bf16 weight) receives a copy rounded to nearest.
// gradient is f32 or bf16, and only read. scale_1 < 0: nothing changes.
// The states follow the 8-bit format of bitsandbytes: blocks of 256, code_m and code_v u8 [n], absmax_m and
// absmax_v f32 [ceil(n/256)].
struct AdamW8 {
  static constexpr const char* name = "adamw8";
  static constexpr const char* phase = "optimizer";
  Tensor weight, compute, code_m, code_v, absmax_m, absmax_v;
  const Tensor gradient, scale_1;
  AdamW options;

  void check() const;
  double bytes() const;
};

// The same with f32 moments.
struct AdamW32 {
  static constexpr const char* name = "adamw32";
  static constexpr const char* phase = "optimizer";
  Tensor weight, compute, m, v;
  const Tensor gradient, scale_1;
  AdamW options;

  void check() const;
  double bytes() const;
};

}  // namespace moe
