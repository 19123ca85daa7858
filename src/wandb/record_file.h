// SPDX-License-Identifier: MIT
// The container of a .wandb file: 7 bytes of header, then byte strings ("records") in chunks that never cross
// a block of 32 KiB, each chunk with a CRC-32 (LevelDB's log format with zlib's checksum). Knows nothing of
// what a record means.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace moe::wandb {

class RecordWriter {
 public:
  // A new file. UserError when there is one already or it cannot be made.
  explicit RecordWriter(const std::filesystem::path& path);
  // An existing file, of which the first `size` bytes are kept: an end that RecordReader::position() has
  // named.
  RecordWriter(const std::filesystem::path& path, int64_t size);
  ~RecordWriter();
  RecordWriter(const RecordWriter&) = delete;
  RecordWriter& operator=(const RecordWriter&) = delete;

  // With the operating system on return. False, with errno: the disk took no more; the file is as it was
  // before.
  bool append(std::string_view record);

 private:
  int descriptor_ = -1;
  int64_t size_ = 0;
};

// Reads from the start, also a file that is still being written.
class RecordReader {
 public:
  explicit RecordReader(const std::filesystem::path& path);
  ~RecordReader();
  RecordReader(const RecordReader&) = delete;
  RecordReader& operator=(const RecordReader&) = delete;

  // The next record; none: the file ends here, or a record has not been written in full yet (call again
  // later). UserError when the bytes are not such a file's.
  std::optional<std::string> next();
  // Where the last record that next() gave ends.
  int64_t position() const { return position_; }

 private:
  struct Chunk {
    uint8_t type = 0;
    std::string payload;
    int64_t end = 0;
  };
  std::optional<Chunk> chunk_at(int64_t position) const;
  bool read_at(int64_t position, void* to, size_t size) const;
  [[noreturn]] void refuse(int64_t position, const std::string& found) const;

  std::filesystem::path path_;
  int descriptor_ = -1;
  int64_t position_ = 0;
};

}  // namespace moe::wandb
