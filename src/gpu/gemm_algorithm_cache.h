// SPDX-License-Identifier: MIT
// Which algorithm of cuBLASLt was fastest for which product, kept in a file of the user's cache: choosing
// takes time, and another choice in the next run could give other bits.
#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace moe::gpu {

struct GemmChoice {
  cublasLtMatmulAlgo_t algorithm{};
  int64_t parts = 1;  // slices of the inner dimension, multiplied side by side and then added in order
};

class GemmAlgorithmCache {
 public:
  // gpu: its name; choices hold for one kind of GPU and one version of the library. A file that cannot be
  // read counts as empty. All objects of a process share what they know, also where no file can be kept.
  explicit GemmAlgorithmCache(const std::string& gpu);

  std::optional<GemmChoice> find(const std::string& product) const;
  // Kept in the file too; where that cannot be written, only for this run.
  void keep(const std::string& product, const GemmChoice& choice);

 private:
  struct Table;
  std::shared_ptr<Table> table_;
};

}  // namespace moe::gpu
