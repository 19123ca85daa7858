// SPDX-License-Identifier: MIT
#pragma once

#include <unistd.h>

namespace moe {

// Closes a file descriptor; negative: there is none.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  const int value_;
};

}  // namespace moe
