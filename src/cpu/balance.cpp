// SPDX-License-Identifier: MIT
// The balance of experts beside the router's losses: of each row, of a whole step, and by biases.
#include <numeric>

#include "cpu/cpu_ops.h"
#include "cpu/sequence.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

// A step that is skipped changes nothing.
bool skipped(const Tensor& clip_scale_1) {
  return !clip_scale_1.empty() && clip_scale_1.as<float>()[0] < 0;
}

}  // namespace

void CpuOps::sequence_loss(SequenceLoss op) {
  op.check();
  const int64_t B = op.doc_start_BT.dim(0), T = op.doc_start_BT.dim(1), E = op.probability_NE.dim(1);
  auto lease = scratch_.borrow(Scratch::padded<float>(B * E) + Scratch::padded<double>(B));
  float* slope_BE = lease.take<float>(B * E);
  double* part_B = lease.take<double>(B);
  sequence_slopes(pool_, slope_BE, op.expert_NK, op.doc_start_BT, E);
  const float* probability = op.probability_NE.as<float>();
  pool_.parallel_for(B, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      part_B[b] = 0;
      for (int64_t n = b * T; n < (b + 1) * T; ++n)  // padding has probability 0
        part_B[b] += static_cast<double>(dot(probability + n * E, slope_BE + b * E, E));
    }
  });
  op.loss_1.as<float>()[0] = static_cast<float>(std::accumulate(part_B, part_B + B, 0.0));
}

void CpuOps::balance_sums(BalanceSums op) {
  op.check();
  const int64_t E = op.P_E.numel();
  const int32_t* top1_count = op.top1_count_E.as<int32_t>();
  const float* P = op.P_E.as<float>();
  int32_t* first = op.first_E.as<int32_t>();
  double* sum = op.sum_E1.as<double>();
  const double tokens = std::accumulate(top1_count, top1_count + E, 0.0);
  for (int64_t e = 0; e < E; ++e) {
    first[e] += top1_count[e];
    sum[e] += tokens * static_cast<double>(P[e]);
  }
  sum[E] += tokens * static_cast<double>(op.loss_2.as<float>()[1]);
}

void CpuOps::balance_shares(BalanceShares op) {
  op.check();
  if (skipped(op.clip_scale_1)) return;
  const int64_t L = op.first_LE.dim(0), E = op.first_LE.dim(1);
  for (int64_t l = 0; l < L; ++l) {
    const int32_t* first = op.first_LE.as<int32_t>() + l * E;
    const double tokens = std::max(1.0, std::accumulate(first, first + E, 0.0));
    for (int64_t e = 0; e < E; ++e)
      op.share_LE.as<float>()[l * E + e] = static_cast<float>(first[e] / tokens);
  }
}

void CpuOps::router_bias(RouterBias op) {
  op.check();
  if (skipped(op.clip_scale_1)) return;
  const int64_t E = op.bias_E.numel();
  const int32_t* count = op.count_E.as<int32_t>();
  float* bias = op.bias_E.as<float>();
  const int64_t all = std::accumulate(count, count + E, int64_t{0});
  for (int64_t e = 0; e < E; ++e) {
    const int64_t lacks = all - E * count[e];  // E times what it has less than the mean
    bias[e] += lacks > 0 ? op.rate : lacks < 0 ? -op.rate : 0.0F;
  }
  const auto mean = static_cast<float>(std::accumulate(bias, bias + E, 0.0) / static_cast<double>(E));
  for (int64_t e = 0; e < E; ++e) bias[e] -= mean;
}

}  // namespace moe::cpu
