// SPDX-License-Identifier: MIT
#include "train/good_weights.h"

#include <fmt/format.h>

#include <cmath>
#include <span>

#include "base/error.h"
#include "tensor/fetch.h"

namespace moe::train {
namespace {

// No sum of squares of finite numbers of 32 bits overflows in f64.
bool all_finite(std::span<const NamedShard> weights, const Tensor& sum_1, Device& device, Ops& ops) {
  ops.fill(sum_1, 0);
  for (const NamedShard& weight : weights)
    if (weight.local.numel() > 0) ops.sum_squares(sum_1, weight.local);
  return std::isfinite(fetch<double>(sum_1, device).front());
}

}  // namespace

void check_weights(const std::vector<NamedShard>& weights, int64_t step, const Tensor& sum_1,
                   comm::Communicator& communicator, Device& device, Ops& ops) {
  comm::propagate_errors(communicator, [&] {
    if (all_finite(weights, sum_1, device, ops)) return;
    for (const NamedShard& weight : weights)
      if (!all_finite({&weight, 1}, sum_1, device, ops))
        throw UserError(
            fmt::format("step {}", step), "finite weights to save", weight.name + " with values that are not",
            "this state is not saved, and the checkpoints before it stay; lower "
            "training.learning_rate or raise training.epsilon, and go on from there with --resume");
  });
}

}  // namespace moe::train
