// SPDX-License-Identifier: MIT
// Memory of the CPU: zeroed, aligned, and refused with words when there is not enough.
#include "cpu/cpu_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "support/errors.h"

namespace moe::cpu {
namespace {

TEST(CpuDeviceTest, NamesProcessorAndThreads) {
  EXPECT_THAT(CpuDevice(1).name(),
              testing::AllOf(testing::StartsWith("CPU ("), testing::EndsWith(", 1 thread)")));
  EXPECT_THAT(CpuDevice(3).name(), testing::EndsWith(", 3 threads)"));
}

TEST(CpuDeviceTest, SomeMemoryIsAvailable) {
  const CpuDevice device(1);
  EXPECT_GT(device.memory_available(), 1 << 20);
  EXPECT_GE(device.memory_total(), device.memory_available());
}

TEST(CpuDeviceTest, MemoryIsAlignedAndZero) {
  CpuDevice device(1);
  auto* memory = static_cast<uint8_t*>(device.allocate(1000));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 256, 0U);
  EXPECT_EQ(std::vector<uint8_t>(memory, memory + 1000), std::vector<uint8_t>(1000));
  device.release(memory);
  void* nothing = device.allocate(0);
  EXPECT_NE(nothing, nullptr);
  device.release(nothing);
}

TEST(CpuDeviceTest, RefusesMoreThanThereIs) {
  CpuDevice device(1);
  const std::string message = test::user_error_of([&] { device.allocate(int64_t{1} << 50); });
  EXPECT_THAT(message, testing::HasSubstr("1125899.91 GB free"));
  EXPECT_THAT(message, testing::HasSubstr("moe plan"));
}

}  // namespace
}  // namespace moe::cpu
