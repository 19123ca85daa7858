// SPDX-License-Identifier: MIT
// Tensors of a golden file on a machine under test, and the question whether results depend on the threads.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "support/fixture.h"
#include "support/source_dir.h"

namespace moe::test {

class Golden {
 public:
  // file: its name in tests/golden; prefix: put before every name.
  explicit Golden(const std::string& file, std::string prefix = "")
      : file_(source_dir() / "tests/golden" / file), prefix_(std::move(prefix)) {}

  // The tensor, as f32, i32 or u8; with `dtype` bf16, an f32 tensor rounded to it.
  Tensor tensor(Machine& machine, const std::string& name, DType dtype = DType::f32) const {
    const auto* entry = file_.find(prefix_ + name);
    if (entry == nullptr) {
      ADD_FAILURE() << "the golden file lacks " << prefix_ << name;
      return machine.zeros(dtype, {1});
    }
    if (entry->dtype == "I32")
      return machine.of(DType::i32, entry->shape, file_.values<int32_t>(entry->name));
    if (entry->dtype == "U8") return machine.of(DType::u8, entry->shape, file_.values<uint8_t>(entry->name));
    return machine.of(dtype, entry->shape, file_.values<float>(entry->name));
  }
  std::vector<double> values(Machine& machine, const std::string& name) const {
    return machine.values(tensor(machine, name));
  }

 private:
  checkpoint::Safetensors file_;
  std::string prefix_;
};

// body makes the same inputs on each machine and returns its results: equal bits with 1, 2 and 3 threads?
inline void expect_same_bits(const std::function<std::vector<Tensor>(Machine&)>& body) {
  std::vector<std::vector<uint8_t>> expected;
  for (const int threads : {1, 2, 3}) {
    Machine machine(threads);
    std::vector<std::vector<uint8_t>> results;
    for (const Tensor& result : body(machine)) results.push_back(machine.bytes(result));
    if (threads == 1) expected = results;
    EXPECT_TRUE(results == expected) << threads << " threads";
  }
}

}  // namespace moe::test
