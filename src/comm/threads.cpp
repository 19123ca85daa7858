// SPDX-License-Identifier: MIT
#include "comm/threads.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <optional>

#include "base/shard.h"
#include "comm/ordered_sum.h"

namespace moe::comm {
namespace {

// Where the threads meet. What a rank lays out before a meeting, the others may read until the next one.
class Meeting {
 public:
  // names: of those who meet, as ranks of the whole world.
  Meeting(std::vector<int> names, int world, std::chrono::milliseconds timeout)
      : names_(std::move(names)),
        world_(world),
        timeout_(timeout),
        address_(names_.size()),
        arrived_(address_.size()),
        left_(address_.size()) {}

  // Returns when all ranks have called it as often.
  void meet(int rank) {
    std::unique_lock lock(mutex_);
    check_alive();
    arrived_[static_cast<size_t>(rank)] = true;
    if (++waiting_ == address_.size()) {
      waiting_ = 0;
      arrived_.assign(arrived_.size(), false);
      ++round_;
      all_here_.notify_all();
      return;
    }
    const uint64_t round = round_;
    const auto done = [&] { return round_ != round || broken(); };
    while (!all_here_.wait_for(lock, timeout_, done))
      if (timeout_suspended_ == 0) fail(fmt::format("no answer for {} ms", timeout_.count()), missing());
    if (round_ == round) check_alive();
  }

  int name(int rank) const { return names_[static_cast<size_t>(rank)]; }
  int world() const { return world_; }
  std::chrono::milliseconds timeout() const { return timeout_; }
  const void*& address(int rank) { return address_[static_cast<size_t>(rank)]; }

  void suspend_timeout(bool suspended) {
    const std::lock_guard lock(mutex_);
    timeout_suspended_ += suspended ? 1 : -1;
  }
  void leave(int rank, const std::string& reason) {
    const std::lock_guard lock(mutex_);
    auto& left = left_[static_cast<size_t>(rank)];
    if (!left) left = reason;
    all_here_.notify_all();
  }

 private:
  bool broken() const {
    return std::any_of(left_.begin(), left_.end(), [](const auto& reason) { return reason.has_value(); });
  }
  std::vector<int> missing() const {
    std::vector<int> ranks;
    for (size_t r = 0; r < arrived_.size(); ++r)
      if (!arrived_[r]) ranks.push_back(names_[r]);
    return ranks;
  }
  void check_alive() {
    for (size_t r = 0; r < left_.size(); ++r)
      if (left_[r]) fail(*left_[r], {names_[r]});
  }
  // The first reason is that of all: those who hear it end, too.
  [[noreturn]] void fail(const std::string& found, const std::vector<int>& ranks) {
    if (!verdict_)
      verdict_ = UserError(fmt::format("rank {} of {}", fmt::join(ranks, ", "), world_),
                           "its part in the work of all", found);
    throw UserError(*verdict_);
  }

  std::vector<int> names_;
  int world_;
  std::chrono::milliseconds timeout_;
  std::mutex mutex_;
  std::condition_variable all_here_;
  std::vector<const void*> address_;  // what each rank lays out
  std::vector<bool> arrived_;
  std::vector<std::optional<std::string>> left_;  // why
  std::optional<UserError> verdict_;
  size_t waiting_ = 0;
  uint64_t round_ = 0;
  int timeout_suspended_ = 0;
};

// Row counts of an all_to_all, as laid out.
struct Parcels {
  const char* data;
  std::span<const int64_t> rows;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(int rank, int size, std::shared_ptr<Meeting> meeting)
      : Communicator(rank, size), meeting_(std::move(meeting)) {}
  ~ThreadCommunicator() override { meeting_->leave(rank(), "it has ended"); }

  std::string describe() const override { return fmt::format("{} ranks as threads", size()); }

  // Rank r adds up piece r, in its own x; then each takes the pieces of the others.
  void all_reduce(Tensor x) override {
    lay_out(x.data());
    const int64_t begin = x.numel() * rank() / size(), end = x.numel() * (rank() + 1) / size();
    add(at(x.data(), begin, x), begin, end, x);
    meeting_->meet(rank());
    for (int r = 0; r < size(); ++r) {
      const int64_t from = x.numel() * r / size(), to = x.numel() * (r + 1) / size();
      if (r != rank()) copy(at(x.data(), from, x), at(meeting_->address(r), from, x), bytes(to - from, x));
    }
    meeting_->meet(rank());
  }
  void reduce_scatter(Tensor part, const Tensor& x, std::span<const int64_t> counts) override {
    check_pieces(part, x, counts);
    lay_out(x.data());
    add(part.data(), elements_before(counts, rank()), elements_before(counts, rank()) + part.numel(), x);
    meeting_->meet(rank());
  }
  void all_gather(Tensor x, const Tensor& part, std::span<const int64_t> counts) override {
    check_pieces(part, x, counts);
    lay_out(part.data());
    int64_t begin = 0;
    for (int r = 0; r < size(); ++r) {
      const int64_t n = counts[static_cast<size_t>(r)];
      void* const piece = at(x.data(), begin, x);
      if (piece != meeting_->address(r)) copy(piece, meeting_->address(r), bytes(n, x));
      begin += n;
    }
    meeting_->meet(rank());
  }
  void all_to_all(Tensor received, std::span<const int64_t> received_rows, const Tensor& sent,
                  std::span<const int64_t> sent_rows) override {
    const Parcels mine{static_cast<const char*>(sent.data()), sent_rows};
    lay_out(&mine);
    const int64_t row = sent.dim(0) == 0 ? 0 : sent.bytes() / sent.dim(0);
    char* to = static_cast<char*>(received.data());
    for (int r = 0; r < size(); ++r) {
      const auto& from = *static_cast<const Parcels*>(meeting_->address(r));
      int64_t before = 0;
      for (int i = 0; i < rank(); ++i) before += from.rows[static_cast<size_t>(i)];
      const int64_t rows = from.rows[static_cast<size_t>(rank())];
      CHECK(rows == received_rows[static_cast<size_t>(r)], "ranks disagree about the rows of an all_to_all");
      copy(to, from.data + before * row, rows * row);
      to += rows * row;
    }
    meeting_->meet(rank());
  }
  void broadcast(Tensor x, int root) override {
    lay_out(x.data());
    if (rank() != root) copy(x.data(), meeting_->address(root), x.bytes());
    meeting_->meet(rank());
  }
  void all_gather_bytes(std::span<std::byte> all, std::span<const std::byte> mine) override {
    CHECK(all.size() == mine.size() * static_cast<size_t>(size()));
    lay_out(mine.data());
    for (int r = 0; r < size(); ++r)
      copy(all.data() + static_cast<size_t>(r) * mine.size(), meeting_->address(r),
           static_cast<int64_t>(mine.size()));
    meeting_->meet(rank());
  }

  std::unique_ptr<Communicator> split(int color, int rank, int size) override {
    const auto colors = gather(color);
    std::vector<int> names;
    int first = -1;  // of those with this color: it makes the place where they will meet
    for (int r = 0; r < this->size(); ++r) {
      if (colors[static_cast<size_t>(r)] != color) continue;
      if (first < 0) first = r;
      if (r == this->rank()) CHECK(static_cast<int>(names.size()) == rank);
      names.push_back(meeting_->name(r));
    }
    CHECK(static_cast<int>(names.size()) == size);
    std::shared_ptr<Meeting> meeting;
    if (first == this->rank())
      meeting = std::make_shared<Meeting>(std::move(names), meeting_->world(), meeting_->timeout());
    lay_out(&meeting);
    if (first != this->rank())
      meeting = *static_cast<const std::shared_ptr<Meeting>*>(meeting_->address(first));
    meeting_->meet(this->rank());
    return std::make_unique<ThreadCommunicator>(rank, size, std::move(meeting));
  }

  void suspend_timeout(bool suspended) override { meeting_->suspend_timeout(suspended); }
  void abort(const std::string& reason) override { meeting_->leave(rank(), reason); }

 private:
  static int64_t bytes(int64_t n, const Tensor& of) { return n * static_cast<int64_t>(size_of(of.dtype())); }
  static void* at(void* data, int64_t i, const Tensor& of) { return static_cast<char*>(data) + bytes(i, of); }
  static const void* at(const void* data, int64_t i, const Tensor& of) {
    return static_cast<const char*>(data) + bytes(i, of);
  }
  static void copy(void* to, const void* from, int64_t size) {
    if (size > 0) std::memcpy(to, from, static_cast<size_t>(size));
  }
  void lay_out(const void* mine) {
    meeting_->address(rank()) = mine;
    meeting_->meet(rank());
  }
  void add(void* sum, int64_t begin, int64_t end, const Tensor& like) {
    std::vector<const void*> terms;
    terms.reserve(static_cast<size_t>(size()));
    for (int r = 0; r < size(); ++r) terms.push_back(at(meeting_->address(r), begin, like));
    ordered_sum(sum, terms, end - begin, like.dtype());
  }

  std::shared_ptr<Meeting> meeting_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> thread_ranks(int size, std::chrono::milliseconds timeout) {
  CHECK(size >= 1);
  std::vector<int> names(static_cast<size_t>(size));
  std::iota(names.begin(), names.end(), 0);
  const auto meeting = std::make_shared<Meeting>(std::move(names), size, timeout);
  std::vector<std::unique_ptr<Communicator>> ranks;
  ranks.reserve(static_cast<size_t>(size));
  for (int rank = 0; rank < size; ++rank)
    ranks.push_back(std::make_unique<ThreadCommunicator>(rank, size, meeting));
  return ranks;
}

}  // namespace moe::comm
