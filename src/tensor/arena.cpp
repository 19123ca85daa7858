// SPDX-License-Identifier: MIT
#include "tensor/arena.h"

#include <algorithm>

namespace moe {

Arena::Arena(Device& device, int64_t bytes)
    : device_(&device), base_(static_cast<char*>(device.allocate(bytes))), capacity_(bytes) {}

Arena::~Arena() {
  if (device_) device_->release(base_);
}

Tensor Arena::allocate(const std::string& category, DType dtype, const std::vector<int64_t>& shape) {
  Tensor tensor(base_ ? base_ + used_ : nullptr, dtype, shape.data(), static_cast<int>(shape.size()));
  const int64_t bytes = (tensor.bytes() + kAlignment - 1) / kAlignment * kAlignment;
  CHECK(planning() || used_ + bytes <= capacity_, "arena is full: planned and real layouts differ");
  used_ += bytes;
  auto row = std::find_if(table_.begin(), table_.end(), [&](const auto& r) { return r.first == category; });
  if (row == table_.end()) row = table_.insert(table_.end(), {category, 0});
  row->second += bytes;
  return tensor;
}

Tensor Arena::allocate(const std::string& category, DType dtype, std::initializer_list<int64_t> shape) {
  return allocate(category, dtype, std::vector<int64_t>(shape));
}

Tensor Arena::allocate(const std::string& category, const Tensor& like) {
  return allocate(category, like.dtype(), std::vector<int64_t>(like.shape(), like.shape() + like.rank()));
}

}  // namespace moe
