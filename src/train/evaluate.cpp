// SPDX-License-Identifier: MIT
#include "train/evaluate.h"

#include <cmath>
#include <numbers>

namespace moe::train {

double Evaluation::perplexity() const {
  return std::exp(loss());
}

double Evaluation::bits_per_byte() const {
  return loss_sum / std::numbers::ln2 / static_cast<double>(bytes);
}

Evaluation all_reduce(const Evaluation& mine, comm::Communicator& communicator) {
  Evaluation sum;
  for (const Evaluation& rank : communicator.gather(mine)) {
    sum.loss_sum += rank.loss_sum;
    sum.targets += rank.targets;
    sum.bytes += rank.bytes;
  }
  return sum;
}

void evaluate(model::Transformer& transformer, const data::Batch& batch, Device& device, Ops& ops,
              Evaluation& evaluation, const model::BlockObserver& observer) {
  transformer.zero_sums(ops);
  transformer.upload(device, batch.input.data(), batch.target.data(), batch.first.data());
  transformer.forward(ops, observer);
  double loss = 0;
  device.to_host(&loss, transformer.sums().loss_1);
  evaluation.loss_sum += loss;
  evaluation.targets += batch.targets;
  evaluation.bytes += batch.target_bytes;
}

}  // namespace moe::train
