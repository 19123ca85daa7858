// SPDX-License-Identifier: MIT
// What plain text, JSON lines and token files share: one file as a Source whose units are ranges of equal
// size.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/data_file.h"
#include "data/source.h"

namespace moe::data {

class FileSource : public Source {
 public:
  // unit_bytes 0: the whole file is one unit. kind names the format and its settings, for identity().
  FileSource(DataFilePtr file, int64_t unit_bytes, std::string kind);

  int64_t units() const override { return (size_ + unit_bytes_ - 1) / unit_bytes_; }
  int64_t unit_bytes(int64_t unit) const override;
  void read(int64_t unit, Documents& documents) const override;
  std::string identity() const override { return identity_with(file_->identity()); }
  std::string old_identity() const override { return identity_with(file_->old_identity()); }
  std::vector<DataFilePtr> files() const override { return {file_}; }

 protected:
  // Adds the documents that start in the bytes [begin, end).
  virtual void read_range(const Input& input, int64_t begin, int64_t end, Documents& documents) const = 0;

 private:
  std::string identity_with(const std::string& file) const;

  DataFilePtr file_;
  int64_t size_, unit_bytes_;
  std::string kind_;
};

}  // namespace moe::data
