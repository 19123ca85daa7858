// SPDX-License-Identifier: MIT
// Writes stretches of a file that is there already, while others, also on other machines, write other
// stretches of it. Failures are UserErrors that name the path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace moe {

class PartWriter {
 public:
  explicit PartWriter(std::filesystem::path path);
  ~PartWriter();
  PartWriter(const PartWriter&) = delete;
  PartWriter& operator=(const PartWriter&) = delete;

  // The file grows where it must.
  void write_at(uint64_t offset, const void* data, size_t size);
  // Returns when what was written here is on the disk. Nothing may be written after.
  void commit();

 private:
  [[noreturn]] void fail(const char* step) const;

  std::filesystem::path path_;
  int descriptor_;
};

}  // namespace moe
