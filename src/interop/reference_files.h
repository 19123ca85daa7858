// SPDX-License-Identifier: MIT
// The tensors of a folder by their names, as matrices that a few vectors are multiplied by: what
// interop/reference_model.cpp is written in. A matrix is read one row at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/safetensors.h"

namespace moe::interop {

// One vector of `width` for each token.
struct Vectors {
  Vectors(int64_t count_, int64_t width_)
      : count(count_), width(width_), values(static_cast<size_t>(count_ * width_)) {}
  double* row(int64_t i) { return values.data() + i * width; }
  const double* row(int64_t i) const { return values.data() + i * width; }

  int64_t count, width;
  std::vector<double> values;
};

class ReferenceFiles {
 public:
  explicit ReferenceFiles(const std::filesystem::path& folder);

  bool has(const std::string& name) const { return found_.contains(name); }
  std::vector<int64_t> shape(const std::string& name) const;
  std::vector<double> values(const std::string& name) const;  // of a small tensor
  // One row of a matrix.
  std::vector<double> row(const std::string& name, int64_t index) const;
  // W x for each x. W: rows [begin, begin + rows) of the tensor, as a matrix of its last dimension; rows -1:
  // all.
  Vectors product(const std::string& name, const Vectors& x, int64_t begin = 0, int64_t rows = -1) const;

 private:
  using Place = std::pair<const checkpoint::Safetensors*, const checkpoint::Safetensors::Entry*>;
  Place at(const std::string& name) const;

  std::filesystem::path folder_;
  std::deque<checkpoint::Safetensors> files_;
  std::map<std::string, Place> found_;
};

}  // namespace moe::interop
