// SPDX-License-Identifier: MIT
// Rank 0 asks, because the order of a file is its business and because only it knows when a disk is full: before each piece
// all ranks hear what is wanted, and at the end that nothing is.
#include "train/collect.h"

#include <algorithm>

#include "base/error.h"

namespace moe {
namespace {

constexpr int64_t kHostPiece = int64_t{16} << 20;  // bytes, of what lies on rank 0

// Elements of a tensor.
struct Extent {
  int64_t begin = 0, count = 0;
};
// [begin, begin + count) bytes of what a rank has of a tensor.
struct Request {
  int64_t tensor = -1, rank = 0, begin = 0, count = 0;  // no tensor: it is done
};
// What of a tensor is read from which rank, in order.
struct Segment {
  int rank = 0;
  Extent extent;
};

class Collector {
 public:
  Collector(const PartFiles& files, Communicator& communicator, const Tensor& staging, Device& device)
      : communicator_(communicator), staging_(staging), device_(device) {
    for (const auto& [file, parts] : files) parts_.insert(parts_.end(), parts.begin(), parts.end());
    std::vector<Extent> mine;
    for (const NamedPiece& part : parts_) mine.push_back({part.begin, part.piece.numel()});
    extents_.resize(mine.size() * static_cast<size_t>(communicator_.size()));
    communicator_.exchange(std::as_writable_bytes(std::span(extents_)), std::as_bytes(std::span(mine)));
  }

  // ---- rank 0 ----
  TensorStream stream(size_t tensor) {
    const Tensor& whole = parts_[tensor].whole;
    return {parts_[tensor].name,
            whole.dtype(),
            {whole.shape(), whole.shape() + whole.rank()},
            [this, tensor](const TensorStream::Sink& sink) {
              for (const Segment& segment : segments(tensor)) read(tensor, segment, sink);
            }};
  }
  void finish() { communicator_.gather(Request{}); }

  // ---- the others ----
  void serve() {
    for (;;) {
      const Request request = communicator_.gather(Request{}).front();
      if (request.tensor < 0) return;
      move(request);
    }
  }

 private:
  const Extent& extent(size_t tensor, int rank) const {
    return extents_[static_cast<size_t>(rank) * parts_.size() + tensor];
  }
  // Each stretch from the first rank that has it, so from rank 0 what it has.
  std::vector<Segment> segments(size_t tensor) const {
    std::vector<Segment> list;
    const int64_t n = parts_[tensor].whole.numel();
    for (int64_t at = 0; at < n;) {
      int rank = 0;
      const auto has = [&](const Extent& e) { return e.begin <= at && at < e.begin + e.count; };
      while (rank < communicator_.size() && !has(extent(tensor, rank))) ++rank;
      CHECK(rank < communicator_.size(), parts_[tensor].name + ": no rank has all of it");
      const Extent& found = extent(tensor, rank);
      list.push_back({rank, {at, found.begin + found.count - at}});
      at = found.begin + found.count;
    }
    return list;
  }
  void read(size_t tensor, const Segment& segment, const TensorStream::Sink& sink) {
    const auto width = static_cast<int64_t>(size_of(parts_[tensor].whole.dtype()));
    const int64_t before = (segment.extent.begin - extent(tensor, segment.rank).begin) * width;
    const int64_t bytes = segment.extent.count * width;
    const bool here = segment.rank == communicator_.rank();
    const int64_t step = here ? kHostPiece : staging_.numel();
    host_.resize(static_cast<size_t>(std::min(step, bytes)));
    for (int64_t done = 0; done < bytes; done += step) {
      const int64_t count = std::min(step, bytes - done);
      if (here) {
        device_.to_host(host_.data(), bytes_of(tensor, before + done, count));
      } else {
        const Request request{static_cast<int64_t>(tensor), segment.rank, before + done, count};
        communicator_.gather(request);
        move(request);
        device_.to_host(host_.data(), staging_.rows(0, count));
      }
      sink(host_.data(), static_cast<size_t>(count));
    }
  }

  // From the rank that has it into rank 0's staging memory.
  void move(const Request& request) {
    const auto owner = static_cast<size_t>(request.rank), size = static_cast<size_t>(communicator_.size());
    const bool sends = request.rank == communicator_.rank();
    std::vector<int64_t> sent(size, 0), received(size, 0);
    if (sends) sent[0] = request.count;
    if (communicator_.rank() == 0) received[owner] = request.count;
    const Tensor from =
        sends ? bytes_of(static_cast<size_t>(request.tensor), request.begin, request.count) : staging_;
    communicator_.all_to_all(staging_, received, from, sent);
  }
  Tensor bytes_of(size_t tensor, int64_t begin, int64_t count) const {
    Tensor piece = parts_[tensor].piece;
    return Tensor(piece.data(), DType::u8, {piece.bytes()}).rows(begin, begin + count);
  }

  Communicator& communicator_;
  Tensor staging_;
  Device& device_;
  std::vector<NamedPiece> parts_;  // of all files
  std::vector<Extent> extents_;    // of all ranks
  std::vector<char> host_;
};

}  // namespace

void collect(const PartFiles& files, Communicator& communicator, const Tensor& staging, Device& device,
             const std::function<void(const CheckpointStore::Streams&)>& write) {
  Collector collector(files, communicator, staging, device);
  if (communicator.rank() != 0) return collector.serve();
  CheckpointStore::Streams streams;
  size_t tensor = 0;
  for (const auto& [file, parts] : files) {
    auto& list = streams.emplace_back(file, std::vector<TensorStream>()).second;
    for (size_t i = 0; i < parts.size(); ++i) list.push_back(collector.stream(tensor++));
  }
  try {
    write(streams);
  } catch (...) {
    collector.finish();
    throw;
  }
  collector.finish();
}

}  // namespace moe
