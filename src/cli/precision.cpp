// SPDX-License-Identifier: MIT
#include "cli/precision.h"

#include "train/precision.h"

namespace moe::cli {

// The hardware is asked for auto alone.
std::string settle_precision(train::RunConfig& config, DeviceKind device) {
  if (config.training.mixed_precision != train::MixedPrecision::automatic) return "";
  const backend::Bf16Products products = backend::bf16_products(device);
  return train::settle_precision(config.training, products.fast, products.why);
}

std::string settle_precision(train::RunConfig& config) {
  return settle_precision(config, config.training.device);
}

}  // namespace moe::cli
