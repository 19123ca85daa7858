// SPDX-License-Identifier: MIT
// The safetensors format, read and written: u64 little-endian header length, a JSON header, then the tensors'
// bytes (row-major, little-endian). Every promise of the format is checked before a byte of data is touched:
// header of at most 100,000,000 bytes, no name twice, entries that tile the data exactly, sizes that match
// shape and dtype. Files are written as the reference library writes them, byte for byte: widest dtype first,
// then by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "tensor/device.h"
#include "tensor/parameter.h"
#include "tensor/tensor.h"

namespace moe::checkpoint {

class Safetensors {
 public:
  struct Entry {
    std::string name;
    std::string dtype;  // the format's spelling: "F32", "BF16", "U8", ...; any of its types, ours or not
    std::vector<int64_t> shape;   // any rank; [] is a scalar
    uint64_t begin = 0, end = 0;  // bytes of the data part
  };
  using Metadata = std::map<std::string, std::string>;

  // Maps the file. Throws UserError naming the file and what is wrong with it.
  explicit Safetensors(const std::filesystem::path& path);
  // The same over bytes that outlive this object; `where` stands for the file in messages.
  Safetensors(std::string where, std::span<const uint8_t> bytes);
  Safetensors(const Safetensors&) = delete;
  Safetensors& operator=(const Safetensors&) = delete;
  Safetensors(Safetensors&&) = default;
  Safetensors& operator=(Safetensors&&) = default;

  const std::vector<Entry>& entries() const { return entries_; }  // in the order of the data
  const Metadata& metadata() const { return metadata_; }
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  const Entry* find(std::string_view name) const;  // null when there is none
  // The tensor's bytes, in place; not aligned to more than the file was.
  std::span<const uint8_t> bytes(const Entry& entry) const {
    return data_.subspan(entry.begin, entry.end - entry.begin);
  }

  // Fills dst on its device. dtype and shape must be the file's (a scalar [] fills [1]); else UserError.
  void load(const std::string& name, Tensor dst, Device& device) const;
  // Fills what lies here of a tensor.
  void load(const NamedShard& part, Device& device) const;
  // Elements from `begin` on as f32; the tensor's type is F32, BF16 or F16.
  void read_floats(const Entry& entry, int64_t begin, std::span<float> values) const;
  // A copy on the host; the dtype must be the file's.
  template <class T>
  std::vector<T> values(const std::string& name) const {
    const auto source = bytes(require(name, dtype_of<T>));
    std::vector<T> result(source.size() / sizeof(T));
    if (!source.empty()) std::memcpy(result.data(), source.data(), source.size());
    return result;
  }

 private:
  const Entry& require(const std::string& name, DType dtype) const;
  const Entry& require_shape(const std::string& name, const Tensor& like) const;
  void parse(std::span<const uint8_t> file);

  std::string where_;
  MappedFile file_;
  std::span<const uint8_t> data_;
  std::vector<Entry> entries_;
  std::unordered_map<std::string_view, size_t> index_;  // name -> place in entries_, whose strings it views
  Metadata metadata_;
};

// A tensor that need not lie in memory as a whole: `write` hands its bytes to the sink, in order, in pieces.
struct TensorStream {
  using Sink = std::function<void(const void* data, size_t size)>;
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  std::function<void(const Sink& sink)> write;

  uint64_t bytes() const;
};
// Leaves the device in pieces of at most 64 MiB.
std::vector<TensorStream> tensor_streams(const std::vector<NamedTensor>& tensors, Device& device);

// Where everything will be in a file.
struct SafetensorsLayout {
  std::string head;             // length and header, padded: the file's first bytes
  std::vector<size_t> order;    // of the tensors, as they follow one another
  std::vector<uint64_t> begin;  // of each tensor, as they were given: bytes of the file before it
  uint64_t bytes = 0;           // of the file
};
SafetensorsLayout safetensors_layout(const std::vector<TensorStream>& tensors,
                                     const Safetensors::Metadata& metadata = {{"format", "pt"}});
// Bytes that write_safetensors will write.
uint64_t safetensors_bytes(const std::vector<TensorStream>& tensors,
                           const Safetensors::Metadata& metadata = {{"format", "pt"}});

// Writes the file whole or not at all (base/file.h). observe, when given, is called with every byte in order:
// for a hash of what should be on the disk.
void write_safetensors(const std::filesystem::path& path, const std::vector<TensorStream>& tensors,
                       const Safetensors::Metadata& metadata = {{"format", "pt"}},
                       const TensorStream::Sink& observe = {});
void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                       Device& device, const Safetensors::Metadata& metadata = {{"format", "pt"}},
                       const TensorStream::Sink& observe = {});

}  // namespace moe::checkpoint
