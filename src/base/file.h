// SPDX-License-Identifier: MIT
// Whole files: read, map, and write so that a reader sees the old file or the new one, never a half (a
// temporary beside it, fsync, rename, fsync of the folder). Folders likewise. Failures are UserErrors that
// name the path. tests/torture lets each call and each allocation fail, and the power.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace moe {

// Where its name is: "." for a name alone.
std::filesystem::path folder_of(const std::filesystem::path& path);

std::string read_file(const std::filesystem::path& path);
// The folder must exist. When the disk is full the temporary is removed and the error says how many bytes
// were needed and how many are free.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

// Makes the folder and those above it, so that they outlive a power loss. hint: for the UserError.
void make_folders(const std::filesystem::path& folder, const std::string& hint = "");
// What was made, renamed or removed in the folder outlives a power loss.
void synchronise_folder(const std::filesystem::path& folder);
// The file or folder, with what is in it. For destructors and for errors on their way: what fails is left
// there.
void remove_quietly(const std::filesystem::path& path) noexcept;

// The streaming form of the same. Without commit() the destructor removes the temporary, "<path>.tmp-<pid>".
// It is locked meanwhile: the next writer of the path removes one that a killed process has left.
class FileWriter {
 public:
  // expected_bytes: the final size where known, for the message when the disk is full; 0 otherwise.
  explicit FileWriter(std::filesystem::path path, uint64_t expected_bytes = 0);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(const void* data, size_t size);
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  uint64_t written() const { return written_; }
  // Makes the file appear under its name. Nothing may be written after.
  void commit();

 private:
  void open_temporary();
  void flush();
  void write_through(const uint8_t* data, size_t size);
  [[noreturn]] void fail(const char* step);
  void discard() noexcept;

  std::filesystem::path path_, temporary_;
  uint64_t expected_bytes_, written_ = 0;
  int descriptor_ = -1;
  std::unique_ptr<uint8_t[]> buffer_;
  size_t buffered_ = 0;
};

// A file mapped for reading. Move-only; an empty file has data() == nullptr.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<const uint8_t> bytes() const { return {data_, size_}; }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// $XDG_CACHE_HOME/moe, else ~/.cache/moe. Not created here.
std::filesystem::path cache_folder();

}  // namespace moe
