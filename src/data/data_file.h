// SPDX-License-Identifier: MIT
// A file that a Source reads, wherever it lies: on a disk, behind a URL, on the hub (data/remote.h), in
// memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/input.h"
#include "base/terminal.h"

namespace moe::data {

class DataFile {
 public:
  virtual ~DataFile() = default;
  DataFile(const DataFile&) = delete;
  DataFile& operator=(const DataFile&) = delete;

  const std::string& name() const { return name_; }  // a path or an address: for messages, and for its ending
  int64_t size() const { return size_; }
  // Names the bytes: the same for a copy in another folder, under another name, on another host, and with
  // another time.
  virtual std::string identity() const = 0;
  // As version 0.1 named them.
  virtual std::string old_identity() const { return identity(); }
  // Names this very content for a cache on this machine; changes when the file does.
  virtual std::string cache_key() const { return identity(); }
  // To read parts of it. Throws UserError when it is gone or has another size by now.
  virtual std::shared_ptr<const Input> open() const = 0;
  // To read all of it, from the beginning to the end.
  virtual std::shared_ptr<const Input> open_whole(Terminal&) const { return open(); }

 protected:
  DataFile(std::string name, int64_t size) : name_(std::move(name)), size_(size) {}

 private:
  std::string name_;
  int64_t size_;
};

using DataFilePtr = std::shared_ptr<const DataFile>;

// How much of a file identity() looks at, at most: so many blocks, spread evenly from its first byte to its
// last. A smaller file is read whole.
inline constexpr int64_t kSampledBlocks = 16, kSampledBlock = 64 << 10;
// "SIZE HASH".
std::string sampled_identity(const Input& input, int64_t blocks = kSampledBlocks);

// Throws UserError when it cannot be read. blocks: for identity(), where there are very many files.
DataFilePtr local_file(const std::filesystem::path& path, int64_t blocks = kSampledBlocks);
// The bytes must outlive it.
DataFilePtr memory_file(const std::string& name, std::string_view bytes);

}  // namespace moe::data
