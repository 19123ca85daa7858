// SPDX-License-Identifier: MIT
// A tensor's values on the host.
#pragma once

#include <cstddef>
#include <vector>

#include "tensor/device.h"
#include "tensor/tensor.h"

namespace moe {

// tensor: of T's type, on the device. Waits for it.
template <class T>
std::vector<T> fetch(const Tensor& tensor, Device& device) {
  std::vector<T> values(static_cast<size_t>(tensor.numel()));
  device.to_host(values.data(), tensor);
  return values;
}

}  // namespace moe
