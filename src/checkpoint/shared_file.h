// SPDX-License-Identifier: MIT
// A safetensors file of a checkpoint that many write at once, each its own stretches: byte for byte the file
// that one would have written. Who writes what follows from what each has, so that all know it without
// asking.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"
#include "tensor/parameter.h"

namespace moe::checkpoint {

class SharedFile {
 public:
  // Elements of a tensor that an owner has.
  struct Extent {
    int64_t begin = 0, count = 0;
  };
  struct Stretch {
    int owner = 0;
    size_t tensor = 0;              // as given
    int64_t element = 0;            // of the whole tensor, the first one here
    uint64_t begin = 0, bytes = 0;  // of the file
  };

  // tensors: their names, types and whole shapes count. extents: those of owner 0, one for each tensor, then
  // those of owner 1, ... Together they must have everything; what several have is dealt among them where it
  // is large.
  SharedFile(std::string name, const std::vector<NamedShard>& tensors, std::span<const Extent> extents,
             int owners);

  const std::string& name() const { return name_; }
  const std::string& head() const { return head_; }  // the first bytes, which are owner 0's
  uint64_t bytes() const { return bytes_; }
  const std::vector<Stretch>& stretches() const {
    return stretches_;
  }  // the others, in the order of the file

  // Reads the written file once. hashes: of what each owner wrote, in the order of the file. Throws UserError
  // naming an owner whose bytes are not there: some network file systems lose what many machines write into
  // one block.
  Manifest::File verify(const std::filesystem::path& path, const std::vector<std::string>& hashes) const;

 private:
  void deal(size_t tensor, int64_t begin, int64_t end, const std::vector<int>& owners, uint64_t at,
            uint64_t width);

  std::string name_, head_;
  uint64_t bytes_ = 0;
  std::vector<Stretch> stretches_;
};

}  // namespace moe::checkpoint
