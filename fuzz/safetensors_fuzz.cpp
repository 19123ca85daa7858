// SPDX-License-Identifier: MIT
// Any bytes as a safetensors file: accepted or refused with a UserError, and what is accepted can be read.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "checkpoint/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const moe::checkpoint::Safetensors file("input", std::span(data, size));
    size_t total = 0;
    unsigned sum = 0;
    for (const auto& entry : file.entries()) {
      if (file.find(entry.name) != &entry) std::abort();
      const auto bytes = file.bytes(entry);
      total += bytes.size();
      for (const uint8_t byte : bytes) sum += byte;
    }
    if (total > size || (total == 0 && sum != 0)) std::abort();
  } catch (const moe::UserError&) {
    // what a bad file is for
  }
  return 0;
}
