// SPDX-License-Identifier: MIT
// Random access to the bytes of a file on disk, or of memory (for tests and fuzzing). Reading, not mapping: a
// file that shrinks while a run reads it must be an error, not a signal.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace moe {

class Input {
 public:
  virtual ~Input() = default;
  virtual int64_t size() const = 0;
  const std::string& name() const { return name_; }  // for messages

  // Bytes [begin, end), cut at the end of the file.
  std::string read(int64_t begin, int64_t end) const;

 protected:
  explicit Input(std::string name) : name_(std::move(name)) {}
  // Exactly these bytes, which lie inside the file.
  virtual void read_exactly(int64_t begin, char* data, size_t count) const = 0;

 private:
  std::string name_;
};

// Holds the file open. Throws UserError when that or a read fails.
class FileInput : public Input {
 public:
  explicit FileInput(const std::filesystem::path& path);
  // Throws UserError when the file's size is not the expected one (it changed since it was looked at).
  FileInput(const std::filesystem::path& path, int64_t expected_size);
  ~FileInput() override;
  FileInput(const FileInput&) = delete;
  FileInput& operator=(const FileInput&) = delete;
  int64_t size() const override { return size_; }

 private:
  void read_exactly(int64_t begin, char* data, size_t count) const override;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

// The bytes must outlive it.
class MemoryInput : public Input {
 public:
  MemoryInput(std::string name, std::string_view bytes) : Input(std::move(name)), bytes_(bytes) {}
  int64_t size() const override { return static_cast<int64_t>(bytes_.size()); }

 private:
  void read_exactly(int64_t begin, char* data, size_t count) const override;
  std::string_view bytes_;
};

}  // namespace moe
