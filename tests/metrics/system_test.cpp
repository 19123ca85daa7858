// SPDX-License-Identifier: MIT
#include "metrics/system.h"

#include <dlfcn.h>
#include <gmock/gmock.h>

#include <map>
#include <optional>
#include <string>

#include "base/nvml.h"

namespace moe::metrics {
namespace {

using testing::DoubleEq;
using testing::Pair;
using testing::UnorderedElementsAre;

class SystemTest : public testing::Test {
 protected:
  // Before anybody asks for the driver's: a library of the same name that is loaded already is the one that
  // the name means.
  static void SetUpTestSuite() {
    ASSERT_NE(dlopen(EMULATED_NVML, RTLD_NOW | RTLD_LOCAL), nullptr) << dlerror();
  }
};

TEST_F(SystemTest, TellsOfThisProcess) {
  SystemMetrics system;
  std::map<std::string, double> values;
  for (const auto& [name, value] : system.sample()) values[name] = value;
  EXPECT_EQ(values.count("cpu"), 0);  // a share needs two looks
  for (const auto& [name, value] : system.sample()) values[name] = value;
  EXPECT_GE(values.at("cpu"), 0);
  EXPECT_GT(values.at("proc.memory.rssMB"), 1);
  EXPECT_GE(values.at("proc.cpu.threads"), 1);
  for (const char* share : {"proc.memory.percent", "memory_percent"}) {
    EXPECT_GT(values.at(share), 0) << share;
    EXPECT_LE(values.at(share), 100) << share;
  }
}

TEST_F(SystemTest, NvmlTellsTheEnergyOfAGpuByItsAddress) {
  const Nvml nvml;
  EXPECT_EQ(nvml.gpus().size(), 2);
  EXPECT_EQ(nvml.gpu_at("00000000:3b:00.0"), nvml.gpus().front());
  EXPECT_EQ(nvml.joules(nvml.gpu_at("00000000:3b:00.0")), 12'345'678.901);
  EXPECT_EQ(nvml.joules(nvml.gpu_at("00000000:af:00.0")), std::nullopt);  // there, without a counter
  EXPECT_EQ(nvml.gpu_at("00000000:00:00.0"), nullptr);
  EXPECT_EQ(nvml.joules(nullptr), std::nullopt);
}

TEST_F(SystemTest, TellsOfEachGpuWhatItsDriverKnows) {
  SystemMetrics system;
  std::map<std::string, double> gpus;
  for (const auto& [name, value] : system.sample())
    if (name.starts_with("gpu.")) gpus[name] = value;
  const double used = static_cast<double>(20ULL << 30);
  EXPECT_THAT(
      gpus, UnorderedElementsAre(Pair("gpu.0.gpu", 97), Pair("gpu.0.memoryAllocatedBytes", used),
                                 Pair("gpu.0.memoryAllocated", 25), Pair("gpu.0.temp", 57),
                                 Pair("gpu.0.smClock", 1710), Pair("gpu.0.powerWatts", DoubleEq(693)),
                                 Pair("gpu.0.enforcedPowerLimitWatts", DoubleEq(700)),
                                 Pair("gpu.0.powerPercent", DoubleEq(99)), Pair("gpu.1.gpu", 97),
                                 Pair("gpu.1.memoryAllocatedBytes", used), Pair("gpu.1.memoryAllocated", 25),
                                 Pair("gpu.1.temp", 57), Pair("gpu.1.smClock", 1710)));
}

}  // namespace
}  // namespace moe::metrics
