// SPDX-License-Identifier: MIT
// An Ops around another that measures each operation, for `moe bench`: it waits for the device after each, so
// the sum is more than an undisturbed step takes. Where it is asked for energy, an operation is run again and
// again until the device's counter tells what one run takes: the step's values are then worthless.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "ops/observed_ops.h"
#include "tensor/device.h"

namespace moe {

class ClockedOps final : public ObservedOps {
 public:
  struct Entry {
    const char* phase = "";
    int64_t calls = 0;
    double seconds = 0, flops = 0, bytes = 0;
    double joules = 0;  // 0: not measured
  };

  ClockedOps(Ops& inner, Device& device) : ObservedOps(inner), device_(device) {}

  // By operation.
  const std::map<std::string, Entry>& entries() const { return entries_; }
  // Begins, or goes back to passing through without a look at the clock.
  void start() { on_ = true; }
  void stop() { on_ = false; }
  // From now on also what each operation of a name and size uses, by repeating it for so many seconds. Does
  // nothing on a device without a counter.
  void measure_energy(double seconds) { energy_seconds_ = seconds; }

  // Passes through while the clock is off, so that whole steps can be timed with the same object.
  std::unique_ptr<CapturedRegion> captured_region() override;

 private:
  class ClockedRegion;
  void run(const Operation& operation, const std::function<void()>& body) override;

  // Joules of one run; 0: the device has no counter.
  double joules_of(const Operation& operation, const std::function<void()>& body);

  Device& device_;
  bool on_ = false;
  double energy_seconds_ = 0;
  std::map<std::string, Entry> entries_;
  std::map<std::tuple<std::string, double, double>, double> joules_;  // by name, flops, bytes
};

}  // namespace moe
