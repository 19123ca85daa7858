// SPDX-License-Identifier: MIT
// An Ops around another that measures each operation, for `moe bench`: it waits for the device after each, so
// the sum is more than an undisturbed step takes.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "ops/observed_ops.h"
#include "tensor/device.h"

namespace moe {

class ClockedOps final : public ObservedOps {
 public:
  struct Entry {
    const char* phase = "";
    int64_t calls = 0;
    double seconds = 0, flops = 0, bytes = 0;
  };

  ClockedOps(Ops& inner, Device& device) : ObservedOps(inner), device_(device) {}

  // By operation.
  const std::map<std::string, Entry>& entries() const { return entries_; }
  // Begins, or goes back to passing through without a look at the clock.
  void start() { on_ = true; }
  void stop() { on_ = false; }

  // Passes through while the clock is off, so that whole steps can be timed with the same object.
  std::unique_ptr<CapturedRegion> captured_region() override;

 private:
  class ClockedRegion;
  void run(const Operation& operation, const std::function<void()>& body) override;

  Device& device_;
  bool on_ = false;
  std::map<std::string, Entry> entries_;
};

}  // namespace moe
