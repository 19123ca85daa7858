// SPDX-License-Identifier: MIT
// What Arrow's Parquet reader gets to see of a file: the few byte ranges that we have read for it. So reading
// is ours (in one piece, cancellable, errors that name the place) and Arrow never waits for a disk or a
// network.
#pragma once

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace moe::data {

class ArrowSlices : public arrow::io::RandomAccessFile {
 public:
  explicit ArrowSlices(int64_t file_size) : size_(file_size) {}

  // The bytes from `begin` on. Slices must not overlap.
  void add(int64_t begin, std::string bytes);

  arrow::Result<int64_t> GetSize() override { return size_; }
  // An IOError for bytes outside of all slices, though not for bytes after the end of the file: they are cut.
  arrow::Result<int64_t> ReadAt(int64_t position, int64_t count, void* out) override;
  arrow::Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t count) override;

  arrow::Result<int64_t> Read(int64_t count, void* out) override;
  arrow::Result<std::shared_ptr<arrow::Buffer>> Read(int64_t count) override;
  arrow::Status Seek(int64_t position) override;
  arrow::Result<int64_t> Tell() const override { return position_; }
  arrow::Status Close() override;
  bool closed() const override { return closed_; }

 private:
  int64_t size_, position_ = 0;
  bool closed_ = false;
  std::map<int64_t, std::shared_ptr<arrow::Buffer>> slices_;  // by where they begin
};

}  // namespace moe::data
