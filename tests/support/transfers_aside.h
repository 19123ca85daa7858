// SPDX-License-Identifier: MIT
// A communicator of threads whose started transfers go on in a thread of their own, as NCCL's do in a stream
// of their own: who touches what is on its way gets other results, and ThreadSanitizer sees it.
#pragma once

#include <future>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "comm/communicator.h"

namespace moe::test {

class TransfersAside final : public comm::Communicator {
 public:
  // All ranks of inner, which must outlive this, make one.
  explicit TransfersAside(comm::Communicator& inner)
      : Communicator(inner.rank(), inner.size()),
        inner_(inner),
        aside_(inner.split(0, inner.rank(), inner.size())) {}
  explicit TransfersAside(std::unique_ptr<comm::Communicator> inner) : TransfersAside(*inner) {
    owned_ = std::move(inner);
  }
  ~TransfersAside() override {
    if (last_.valid()) last_.wait();
    aside_.reset();
  }

  std::string describe() const override { return inner_.describe(); }
  void all_reduce(Tensor x) override { inner_.all_reduce(x); }
  void reduce_scatter(Tensor part, const Tensor& x, std::span<const int64_t> counts) override {
    inner_.reduce_scatter(part, x, counts);
  }
  void all_gather(Tensor x, const Tensor& part, std::span<const int64_t> counts) override {
    inner_.all_gather(x, part, counts);
  }
  void all_to_all(Tensor received, std::span<const int64_t> received_rows, const Tensor& sent,
                  std::span<const int64_t> sent_rows) override {
    inner_.all_to_all(received, received_rows, sent, sent_rows);
  }
  void broadcast(Tensor x, int root) override { inner_.broadcast(x, root); }
  std::unique_ptr<comm::Communicator> split(int color, int rank, int size) override {
    return std::make_unique<TransfersAside>(inner_.split(color, rank, size));
  }
  void all_gather_bytes(std::span<std::byte> all, std::span<const std::byte> mine) override {
    inner_.all_gather_bytes(all, mine);
  }
  void suspend_timeout(bool patient) override { inner_.suspend_timeout(patient); }
  void abort(const std::string& reason) override { inner_.abort(reason); }

  void start_all_reduce(int lane, Tensor x) override {
    start(lane, [=, this] { aside_->all_reduce(x); });
  }
  void start_reduce_scatter(int lane, Tensor part, const Tensor& x,
                            std::span<const int64_t> counts) override {
    start(lane, [=, this] { aside_->reduce_scatter(part, x, counts); });
  }
  void start_all_gather(int lane, Tensor x, const Tensor& part, std::span<const int64_t> counts) override {
    start(lane, [=, this] { aside_->all_gather(x, part, counts); });
  }
  void start_all_to_all(int lane, Tensor received, std::span<const int64_t> received_rows, const Tensor& sent,
                        std::span<const int64_t> sent_rows) override {
    start(lane, [=, this] { aside_->all_to_all(received, received_rows, sent, sent_rows); });
  }
  void finish(int lane) override {
    if (const auto& work = lanes_[lane]; work.valid()) work.get();
  }
  void start_gather(int lane, const Tensor& mine) override {
    start(lane, [=, this] { aside_->start_gather(lane, mine); });
  }
  std::span<const std::byte> finish_gather(int lane) override {
    finish(lane);
    return aside_->finish_gather(lane);
  }

 private:
  template <class Work>
  void start(int lane, Work work) {
    last_ = std::async(std::launch::async, [before = last_, work] {
              if (before.valid()) before.get();
              work();
            }).share();
    lanes_[lane] = last_;
  }

  std::unique_ptr<comm::Communicator> owned_;
  comm::Communicator& inner_;
  std::unique_ptr<comm::Communicator> aside_;
  std::shared_future<void> last_;
  std::map<int, std::shared_future<void>> lanes_;
};

}  // namespace moe::test
