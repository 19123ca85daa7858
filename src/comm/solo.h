// SPDX-License-Identifier: MIT
// A world of one rank: sums have one term and nothing moves. For any device.
#pragma once

#include "comm/communicator.h"

namespace moe::comm {

class SoloCommunicator final : public Communicator {
 public:
  SoloCommunicator() : Communicator(0, 1) {}

  std::string describe() const override { return "one rank"; }
  void all_reduce(Tensor) override {}
  // What is one piece of one is in its place already; anywhere else it would have to be moved.
  void reduce_scatter(Tensor part, const Tensor& x, std::span<const int64_t>) override {
    expect_in_place(part, x);
  }
  void all_gather(Tensor x, const Tensor& part, std::span<const int64_t>) override {
    expect_in_place(x, part);
  }
  void all_to_all(Tensor received, std::span<const int64_t>, const Tensor& sent,
                  std::span<const int64_t>) override {
    expect_in_place(received, sent);
  }
  void broadcast(Tensor, int) override {}
  void all_gather_bytes(std::span<std::byte> all, std::span<const std::byte> mine) override {
    CHECK(all.size() == mine.size());
    if (!mine.empty()) std::memcpy(all.data(), mine.data(), mine.size());
  }
  std::unique_ptr<Communicator> split(int, int rank, int size) override {
    CHECK(rank == 0 && size == 1);
    return std::make_unique<SoloCommunicator>();
  }
  void abort(const std::string&) override {}

 private:
  static void expect_in_place(const Tensor& a, const Tensor& b) {
    CHECK(a.data() == b.data(), "one rank moves nothing");
  }
};

}  // namespace moe::comm
