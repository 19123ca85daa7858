// SPDX-License-Identifier: MIT
#include "train/peak_flops.h"

#include <utility>

namespace moe::train {

std::optional<double> peak_flops(std::string_view device_name, bool bf16) {
  // Parts of names, the more particular first; 1e12 operations a second without sparsity.
  constexpr std::pair<const char*, double> kGpus[] = {
      {"H100 PCIe", 756}, {"H100 NVL", 835}, {"H100", 989},       {"H200", 989},  {"GH200", 989},
      {"B200", 2250},     {"A100", 312},     {"A800", 312},       {"H800", 989},  {"A10G", 70},
      {"L40S", 362},      {"L40", 181},      {"RTX 4090", 165.2}, {"A40", 149.7}, {"RTX 3090", 71},
      {"L4", 121},        {"RTX 5090", 209}, {"A6000", 154.8},    {"A10", 125}};
  if (!bf16) return std::nullopt;
  for (const auto& [name, tera] : kGpus)
    if (device_name.find(name) != std::string_view::npos) return tera * 1e12;
  return std::nullopt;
}

}  // namespace moe::train
