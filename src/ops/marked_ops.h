// SPDX-License-Identifier: MIT
// An Ops around another that tells a profiler where each operation begins and ends: how is the device's
// business.
#pragma once

#include <memory>

#include "ops/observed_ops.h"

namespace moe {

class MarkedOps final : public ObservedOps {
 public:
  struct Marker {
    void (*begin)(const char* name);
    void (*end)();
  };

  MarkedOps(std::unique_ptr<Ops> inner, Marker marker)
      : ObservedOps(*inner), owned_(std::move(inner)), marker_(marker) {}

 private:
  void run(const Operation& operation, const std::function<void()>& body) override {
    const Range range(marker_, operation.name.c_str());
    body();
  }

  struct Range {  // ends when an exception passes, too
    Range(const Marker& to_tell, const char* name) : marker(to_tell) { marker.begin(name); }
    ~Range() { marker.end(); }
    Range(const Range&) = delete;
    Range& operator=(const Range&) = delete;
    const Marker& marker;
  };

  std::unique_ptr<Ops> owned_;
  Marker marker_;
};

}  // namespace moe
