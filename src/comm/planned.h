// SPDX-License-Identifier: MIT
// Rank 0 of a world that is only planned for (`moe plan`): it knows how many there are, and nobody is there
// to talk to.
#pragma once

#include "comm/communicator.h"

namespace moe::comm {

class PlannedCommunicator final : public Communicator {
 public:
  explicit PlannedCommunicator(int size) : Communicator(0, size) {}

  std::string describe() const override { return "planned ranks"; }
  void all_reduce(Tensor) override { nobody(); }
  void reduce_scatter(Tensor, const Tensor&, std::span<const int64_t>) override { nobody(); }
  void all_gather(Tensor, const Tensor&, std::span<const int64_t>) override { nobody(); }
  void all_to_all(Tensor, std::span<const int64_t>, const Tensor&, std::span<const int64_t>) override {
    nobody();
  }
  void broadcast(Tensor, int) override { nobody(); }
  void all_gather_bytes(std::span<std::byte>, std::span<const std::byte>) override { nobody(); }
  std::unique_ptr<Communicator> split(int, int, int size) override {
    return std::make_unique<PlannedCommunicator>(size);
  }
  void abort(const std::string&) override {}

 private:
  [[noreturn]] static void nobody() { CHECK(false, "planned ranks do not talk"); }
};

}  // namespace moe::comm
