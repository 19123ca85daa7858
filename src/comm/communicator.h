// SPDX-License-Identifier: MIT
// Collectives between the ranks of a run. A world of one is a real communicator (comm/solo.h) whose calls do
// nothing, so no caller asks for the number of ranks. Others: threads of one process (comm/threads.h), MPI
// (comm/mpi.h), NCCL (gpu/nccl_communicator.h).
// All ranks make the same calls in the same order. Sums are x_0 + x_1 + ... in the order of the ranks, in f32
// for bf16 and rounded once, whatever the timing; NCCL has a fixed order of its own. All ranks get the same
// bits. A call that waits for a rank that is gone, or longer than the timeout, throws (or, with MPI, ends the
// program) with a message that names the rank.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "tensor/tensor.h"

namespace moe::comm {

class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  virtual std::string describe() const = 0;  // "4 ranks over MPI (Open MPI 4.1.4)"

  // ---- tensors on the device that the communicator was made for, in order with its operations ----
  // Sums have f32, bf16, f64 or i32; what only moves has any type. W ranks.
  // x = sum over ranks of x.
  virtual void all_reduce(Tensor x) = 0;
  // x consists of W pieces, one after another: piece r has counts[r] elements, perhaps none.
  // part = piece `rank` of the sum of x. part may be that piece of x, the others are then unspecified.
  virtual void reduce_scatter(Tensor part, const Tensor& x, std::span<const int64_t> counts) = 0;
  // Piece r of x = part of rank r. part may be piece `rank` of x.
  virtual void all_gather(Tensor x, const Tensor& part, std::span<const int64_t> counts) = 0;
  // The first sent_rows[0] rows of `sent` go to rank 0, the next to rank 1, ...; received_rows likewise. Rows
  // beyond the sums are neither read nor written. The two must not overlap.
  virtual void all_to_all(Tensor received, std::span<const int64_t> received_rows, const Tensor& sent,
                          std::span<const int64_t> sent_rows) = 0;
  virtual void broadcast(Tensor x, int root) = 0;

  // ---- asynchronous collectives, in slots 0, 1, 2, ... ----
  // A collective begins when all operations queued before it are done, and all collectives started before it.
  // Operations queued after finish(slot) see the results of the slot. Until then nothing else may touch what
  // it reads and writes, the lists of rows and counts included. All ranks start and finish in the same order.
  // This default body has nothing to overlap with: finish() does the work.
  virtual void start_all_reduce(int slot, Tensor x) {
    started_[slot].push_back([=, this] { all_reduce(x); });
  }
  virtual void start_reduce_scatter(int slot, Tensor part, const Tensor& x, std::span<const int64_t> counts) {
    started_[slot].push_back([=, this] { reduce_scatter(part, x, counts); });
  }
  virtual void start_all_gather(int slot, Tensor x, const Tensor& part, std::span<const int64_t> counts) {
    started_[slot].push_back([=, this] { all_gather(x, part, counts); });
  }
  virtual void start_all_to_all(int slot, Tensor received, std::span<const int64_t> received_rows,
                                const Tensor& sent, std::span<const int64_t> sent_rows) {
    started_[slot].push_back([=, this] { all_to_all(received, received_rows, sent, sent_rows); });
  }
  // Nothing, where nothing was started.
  virtual void finish(int slot);
  // mine, a small tensor, of all ranks in order, on the host; valid until the slot's next. The second call
  // waits for it. Here the device's memory is the host's.
  virtual void start_gather(int slot, const Tensor& mine);
  virtual std::span<const std::byte> finish_gather(int slot);

  // The ranks that name the same color, in their order, as a world of their own: this one is `rank` of `size`
  // there. All ranks call it, and use the new worlds one after another in an order that all of their ranks
  // share. This one must outlive it.
  virtual std::unique_ptr<Communicator> split(int color, int rank, int size) = 0;

  // ---- small things on the host ----
  // all = the bytes of all ranks, in order; each gives mine.size().
  virtual void all_gather_bytes(std::span<std::byte> all, std::span<const std::byte> mine) = 0;
  void barrier() { all_gather_bytes({}, {}); }
  // Where ranks meet once a step: comes after all operations queued so far on this rank, and ends when all
  // ranks are there. How many seconds this one waited there for the last is known once the device has come
  // past.
  virtual void step_barrier();
  virtual double waited() const { return waited_; }
  template <class T>
  std::vector<T> gather(const T& mine) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::vector<T> all(static_cast<size_t>(size_));
    all_gather_bytes(std::as_writable_bytes(std::span(all)), std::as_bytes(std::span(&mine, 1)));
    return all;
  }
  int64_t sum(int64_t mine);
  std::vector<std::string> gather_text(const std::string& mine);

  // For what may take one rank long while the others wait for it, such as writing a checkpoint: until the
  // call with false the timeout does not count. Use SuspendTimeout.
  virtual void suspend_timeout(bool suspended) { (void)suspended; }
  // This rank cannot go on: lets the others know why, so that they stop at once.
  virtual void abort(const std::string& reason) = 0;

 protected:
  Communicator(int rank, int size) : rank_(rank), size_(size) { CHECK(rank >= 0 && rank < size); }
  void check_pieces(const Tensor& part, const Tensor& x, std::span<const int64_t> counts) const;

 private:
  int rank_, size_;
  std::map<int, std::vector<std::function<void()>>> started_;  // by slot
  std::map<int, std::vector<std::byte>> gathered_;
  double waited_ = 0;
};

// SuspendTimeout for as long as it lives.
class SuspendTimeout {
 public:
  explicit SuspendTimeout(Communicator& communicator) : communicator_(communicator) {
    communicator_.suspend_timeout(true);
  }
  ~SuspendTimeout() { communicator_.suspend_timeout(false); }
  SuspendTimeout(const SuspendTimeout&) = delete;
  SuspendTimeout& operator=(const SuspendTimeout&) = delete;

 private:
  Communicator& communicator_;
};

// How long a rank waits for another in one call.
inline constexpr std::chrono::seconds kRankTimeout{50};

// A UserError that all ranks have; the one of rank 0 is to be shown.
struct SharedError : UserError {
  using UserError::UserError;
};

// Runs body, on all ranks at about the same time. Where it throws a UserError on any, throws on all: the
// error of the first such rank, as a SharedError that names the rank if not all have it. In a world of one it
// only calls body.
void propagate_errors(Communicator& communicator, const std::function<void()>& body);

}  // namespace moe::comm
