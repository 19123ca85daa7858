// SPDX-License-Identifier: MIT
// Which algorithm of cuBLASLt was fastest for which product: choosing takes time, and another choice in the
// next run could give other bits. Choices for some GPUs come with the program
// (assets/gemm_algorithms.json); those that this machine has measured are kept in a file of the user's cache
// and go first.
#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace moe::gpu {

struct GemmChoice {
  cublasLtMatmulAlgo_t algorithm{};
  int64_t parts = 1;  // slices of the inner dimension, multiplied side by side and then added in order
};

class GemmAlgorithmCache {
 public:
  // gpu: its name; choices hold for one kind of GPU and one version of the library, that of cuBLASLt here.
  // A file of the cache that cannot be read counts as empty. All objects of a process share what they know,
  // also where no file can be kept.
  explicit GemmAlgorithmCache(const std::string& gpu);
  // For itself. shipped: the text of an asset; kind: its entry of this GPU and version, as kind_of() has it;
  // file: of the cache, none where it is empty.
  GemmAlgorithmCache(std::string_view shipped, const std::string& kind, const std::filesystem::path& file);

  static std::string_view asset();                                     // of the program
  static std::string kind_of(const std::string& gpu, size_t version);  // "NVIDIA-H200-cublaslt-130100"

  std::optional<GemmChoice> find(const std::string& product) const;
  // Kept in the file too; where that cannot be written, only for this run.
  void keep(const std::string& product, const GemmChoice& choice);

  size_t shipped() const;  // products whose choice came with the program

 private:
  struct Table;
  std::shared_ptr<Table> table_;
};

}  // namespace moe::gpu
