// SPDX-License-Identifier: MIT
// The writer of safetensors files: the order, spacing and padding of the reference library, so that equal
// tensors make equal files.
#include <algorithm>
#include <numeric>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_dtype.h"

namespace moe::checkpoint {
namespace {

constexpr int64_t kPieceBytes = int64_t{64} << 20;

// The tensor's bytes, a piece at a time.
void write_from_device(Tensor tensor, Device& device, const TensorStream::Sink& sink) {
  const Tensor flat = tensor.reshape({tensor.numel()});
  const int64_t step = kPieceBytes / static_cast<int64_t>(size_of(flat.dtype()));
  std::vector<char> piece(static_cast<size_t>(std::min(kPieceBytes, flat.bytes())));
  for (int64_t begin = 0; begin < flat.numel(); begin += step) {
    const Tensor part = flat.rows(begin, std::min(begin + step, flat.numel()));
    device.to_host(piece.data(), part);
    sink(piece.data(), static_cast<size_t>(part.bytes()));
  }
}

}  // namespace

SafetensorsLayout safetensors_layout(const std::vector<TensorStream>& tensors,
                                     const Safetensors::Metadata& metadata) {
  SafetensorsLayout layout;
  layout.begin.resize(tensors.size());
  layout.order.resize(tensors.size());
  std::iota(layout.order.begin(), layout.order.end(), size_t{0});
  const auto key = [&](size_t i) {
    return std::tuple(-safetensors_rank(tensors[i].dtype), std::string_view(tensors[i].name));
  };
  std::sort(layout.order.begin(), layout.order.end(), [&](size_t a, size_t b) { return key(a) < key(b); });

  OrderedJson header = OrderedJson::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::set<std::string_view> names;
  for (const size_t i : layout.order) {
    const TensorStream& tensor = tensors[i];
    CHECK(tensor.name != "__metadata__" && names.insert(tensor.name).second, tensor.name);
    layout.begin[i] = layout.bytes;
    const uint64_t end = layout.bytes + tensor.bytes();
    header[tensor.name] = {{"dtype", safetensors_name(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {layout.bytes, end}}};
    layout.bytes = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  for (int shift = 0; shift < 64; shift += 8)
    layout.head += static_cast<char>((uint64_t{text.size()} >> shift) & 0xff);
  layout.head += text;
  for (uint64_t& begin : layout.begin) begin += layout.head.size();
  layout.bytes += layout.head.size();
  return layout;
}

uint64_t TensorStream::bytes() const {
  uint64_t total = size_of(dtype);
  for (const int64_t dim : shape) total *= static_cast<uint64_t>(dim);
  return total;
}

std::vector<TensorStream> tensor_streams(const std::vector<NamedTensor>& tensors, Device& device) {
  std::vector<TensorStream> streams;
  streams.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    CHECK(!tensor.empty(), name);
    streams.push_back({name,
                       tensor.dtype(),
                       {tensor.shape(), tensor.shape() + tensor.rank()},
                       [tensor = tensor, &device](const TensorStream::Sink& sink) {
                         write_from_device(tensor, device, sink);
                       }});
  }
  return streams;
}

uint64_t safetensors_bytes(const std::vector<TensorStream>& tensors, const Safetensors::Metadata& metadata) {
  return safetensors_layout(tensors, metadata).bytes;
}

void write_safetensors(const std::filesystem::path& path, const std::vector<TensorStream>& tensors,
                       const Safetensors::Metadata& metadata, const TensorStream::Sink& observe) {
  const SafetensorsLayout layout = safetensors_layout(tensors, metadata);
  FileWriter file(path, layout.bytes);
  const TensorStream::Sink write = [&](const void* data, size_t size) {
    file.write(data, size);
    if (observe) observe(data, size);
  };
  write(layout.head.data(), layout.head.size());
  for (const size_t i : layout.order) {
    const uint64_t before = file.written();
    tensors[i].write(write);
    CHECK(file.written() - before == tensors[i].bytes(), tensors[i].name);
  }
  file.commit();
}

void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                       Device& device, const Safetensors::Metadata& metadata,
                       const TensorStream::Sink& observe) {
  write_safetensors(path, tensor_streams(tensors, device), metadata, observe);
}

}  // namespace moe::checkpoint
