// SPDX-License-Identifier: MIT
// cross_entropy: a few rows per task. A row is read once, in blocks that stay in the first-level cache
// between their maximum and their exponentials. These are kept in f32 until the gradient: 200 kB for 50304
// words, which stay in the second-level cache.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "cpu/cpu_ops.h"
#include "cpu/fp8.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

constexpr int64_t kRowsPerTask = 4;
constexpr int64_t kBlock = 2048;  // logits

// Of the logits so far: the largest, and the sum of e^(logit - largest).
struct Total {
  float largest = std::numeric_limits<float>::lowest();
  double sum = 0;
};

// What a row leaves for its gradient: e^(logit - largest_K[k]) in block k, the largest logit up to there.
struct Exponentials {
  float *exp_V, *largest_K;
};

template <class T>
Total take_row(Exponentials out, const T* logits, int64_t vocabulary) {
  Total total;
  for (int64_t begin = 0; begin < vocabulary; begin += kBlock) {
    const int64_t n = std::min(kBlock, vocabulary - begin);
    const T* __restrict in = logits + begin;
    float* __restrict exps = out.exp_V + begin;
    if (const float largest = max_of(in, n); largest > total.largest) {
      total.sum *= static_cast<double>(exp_flushed(total.largest - largest));
      total.largest = largest;
    }
    out.largest_K[begin / kBlock] = total.largest;
    for (int64_t i = 0; i < n; ++i) exps[i] = exp_flushed(to_float(in[i]) - total.largest);
    total.sum += static_cast<double>(sum_of(n, [=](int64_t i) { return exps[i]; }));
  }
  return total;
}

// logits = scale * softmax.
template <class T>
void scaled_softmax(T* logits, Exponentials in, Total total, float scale, int64_t vocabulary) {
  for (int64_t begin = 0; begin < vocabulary; begin += kBlock) {
    const int64_t n = std::min(kBlock, vocabulary - begin);
    const float of_block = exp_flushed(in.largest_K[begin / kBlock] - total.largest);
    const float factor = static_cast<float>(static_cast<double>(scale) / total.sum) * of_block;
    const float* __restrict exps = in.exp_V + begin;
    T* __restrict out = logits + begin;
    for (int64_t i = 0; i < n; ++i) out[i] = from_float<T>(exps[i] * factor);
  }
}

// Returns the loss; logits become the gradient when scale is not null.
template <class T>
float row_loss(T* logits, Exponentials exponentials, int64_t width, int64_t vocabulary, int32_t target,
               const float* scale) {
  if (target < 0) {
    if (scale != nullptr) std::fill_n(logits, width, T(0.0F));
    return 0;
  }
  CHECK(target < vocabulary, "target " + std::to_string(target));
  const float at_target = to_float(logits[target]);
  const Total total = take_row(exponentials, logits, vocabulary);
  const double loss =
      std::log(total.sum) + (static_cast<double>(total.largest) - static_cast<double>(at_target));
  if (scale == nullptr) return static_cast<float>(loss);
  scaled_softmax(logits, exponentials, total, *scale, vocabulary);
  const float probability = exp_flushed(at_target - total.largest) / static_cast<float>(total.sum);
  logits[target] = from_float<T>(*scale * (probability - 1));
  std::fill(logits + vocabulary, logits + width, T(0.0F));
  return static_cast<float>(loss);
}

}  // namespace

void CpuOps::cross_entropy(CrossEntropy op) {
  op.check();
  const int64_t width = op.logits_NV.dim(1);
  const float* scale = op.gradient_scale_1.empty() ? nullptr : op.gradient_scale_1.as<float>();
  with_type(op.logits_NV.dtype(), [&](auto type) {
    using T = decltype(type);
    pool_.parallel_for(op.logits_NV.dim(0), kRowsPerTask, [&](int64_t begin, int64_t end) {
      const int64_t blocks = (op.vocabulary + kBlock - 1) / kBlock;
      auto lease = scratch_.borrow(Scratch::padded<float>(op.vocabulary) + Scratch::padded<float>(blocks));
      const Exponentials exps{lease.template take<float>(op.vocabulary), lease.template take<float>(blocks)};
      for (int64_t n = begin; n < end; ++n)
        op.loss_N.as<float>()[n] = row_loss(op.logits_NV.as<T>() + n * width, exps, width, op.vocabulary,
                                            op.target_N.as<int32_t>()[n], scale);
    });
  });
  if (!op.gradient8_NV.empty()) quantise_by(pool_, op.gradient8_NV, op.logits_NV, *scale);
}

}  // namespace moe::cpu
