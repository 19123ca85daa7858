// SPDX-License-Identifier: MIT
// All device memory of a run, planned before it is taken. The same code runs twice: once on a planning arena,
// which only counts, and once on a real one. `moe plan` is the first half.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "tensor/device.h"
#include "tensor/tensor.h"

namespace moe {

class Arena {
 public:
  static constexpr int64_t kAlignment = 256;

  // A planning arena: its tensors have shapes but no memory behind them.
  Arena() = default;
  // A real arena of `bytes`, taken from the device at once and returned to it at the end.
  Arena(Device& device, int64_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Zeroed on first use of a real arena. category is a row of the memory table ("weights", "gradients", ...).
  Tensor allocate(const std::string& category, DType dtype, std::initializer_list<int64_t> shape);
  Tensor allocate(const std::string& category, DType dtype, const std::vector<int64_t>& shape);
  // Of another's shape and type.
  Tensor allocate(const std::string& category, const Tensor& like);

  bool planning() const { return device_ == nullptr; }
  int64_t used() const { return used_; }
  // (category, bytes) in order of first use.
  const std::vector<std::pair<std::string, int64_t>>& table() const { return table_; }

 private:
  Device* device_ = nullptr;
  char* base_ = nullptr;
  int64_t capacity_ = 0, used_ = 0;
  std::vector<std::pair<std::string, int64_t>> table_;
};

}  // namespace moe
