// SPDX-License-Identifier: MIT
#include "checkpoint/shared_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/safetensors.h"

namespace moe::checkpoint {
namespace {

// What several have is dealt in parts of at least this many elements, cut at multiples of the second.
constexpr int64_t kLeast = int64_t{1} << 16, kCut = 256;

}  // namespace

SharedFile::SharedFile(std::string name, const std::vector<NamedShard>& tensors,
                       std::span<const Extent> extents, int owners)
    : name_(std::move(name)) {
  CHECK(extents.size() == tensors.size() * static_cast<size_t>(owners));
  std::vector<TensorStream> shapes;
  for (const NamedShard& tensor : tensors) {
    const Tensor& whole = tensor.global;
    shapes.push_back({tensor.name, whole.dtype(), {whole.shape(), whole.shape() + whole.rank()}, {}});
  }
  SafetensorsLayout layout = safetensors_layout(shapes);
  head_ = std::move(layout.head);
  bytes_ = layout.bytes;
  for (const size_t i : layout.order) {
    const auto of = [&](int owner) { return extents[static_cast<size_t>(owner) * tensors.size() + i]; };
    const int64_t n = tensors[i].global.numel();
    std::set<int64_t> bounds{0, n};  // between two of them nobody begins or ends
    for (int owner = 0; owner < owners; ++owner)
      for (const int64_t bound : {of(owner).begin, of(owner).begin + of(owner).count})
        if (bound < n) bounds.insert(bound);
    for (auto begin = bounds.begin(), end = std::next(begin); end != bounds.end(); ++begin, ++end) {
      std::vector<int> have;
      for (int owner = 0; owner < owners; ++owner)
        if (of(owner).begin <= *begin && *end <= of(owner).begin + of(owner).count) have.push_back(owner);
      CHECK(!have.empty(), tensors[i].name + ": nobody has all of it");
      deal(i, *begin, *end, have, layout.begin[i], size_of(tensors[i].global.dtype()));
    }
  }
}

void SharedFile::deal(size_t tensor, int64_t begin, int64_t end, const std::vector<int>& owners, uint64_t at,
                      uint64_t width) {
  const int64_t parts = std::clamp<int64_t>((end - begin) / kLeast, 1, std::ssize(owners));
  const int64_t step = ((end - begin + parts - 1) / parts + kCut - 1) / kCut * kCut;
  for (size_t part = 0; begin < end; ++part) {
    const int64_t stop = std::min(begin + step, end);
    stretches_.push_back({owners[part], tensor, begin, at + static_cast<uint64_t>(begin) * width,
                          static_cast<uint64_t>(stop - begin) * width});
    begin = stop;
  }
}

Manifest::File SharedFile::verify(const std::filesystem::path& path,
                                  const std::vector<std::string>& hashes) const {
  const MappedFile file(path);
  if (file.size() != bytes_)
    throw UserError(path.string(), fmt::format("{} bytes", bytes_), fmt::format("{}", file.size()));
  Hash all;
  std::vector<Hash> of_owner(hashes.size());
  const auto add = [&](int owner, uint64_t begin, uint64_t bytes) {
    all.add(file.data() + begin, bytes);
    of_owner.at(static_cast<size_t>(owner)).add(file.data() + begin, bytes);
  };
  add(0, 0, head_.size());
  for (const Stretch& stretch : stretches_) add(stretch.owner, stretch.begin, stretch.bytes);
  for (size_t owner = 0; owner < hashes.size(); ++owner)
    if (const std::string found = of_owner[owner].hex(); found != hashes[owner])
      throw UserError(path.string(), fmt::format("what rank {} wrote, with hash {}", owner, hashes[owner]),
                      found, "save to a file system that many machines can write one file on");
  return {bytes_, all.hex()};
}

}  // namespace moe::checkpoint
