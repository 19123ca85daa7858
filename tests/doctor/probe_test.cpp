// SPDX-License-Identifier: MIT
// On the machine of the tests, and with emulated NVML.
#include <dlfcn.h>
#include <gmock/gmock.h>

#include <cstdlib>

#include "doctor/machine.h"
#include "support/folder.h"

namespace moe::doctor {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

// Sets a variable of the environment for a test.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

TEST(Probe, WhatEveryMachineHas) {
  const test::TestFolder folder;
  const Machine machine = probe(folder.path() / "runs");
  EXPECT_THAT(machine.program, HasSubstr("moe "));
  EXPECT_THAT(machine.processor.description, HasSubstr("oneDNN"));
  EXPECT_THAT(machine.processor.problem, IsEmpty());
  EXPECT_GE(machine.processor.cores, 1);
  EXPECT_GE(machine.processor.cores_of_machine, machine.processor.cores);
  EXPECT_GT(machine.memory.free, 0);
  EXPECT_GE(machine.memory.allowed, machine.memory.free);
  EXPECT_GE(machine.memory.machine, machine.memory.allowed);
  EXPECT_GT(machine.runs.free, 0);
  EXPECT_EQ(machine.runs.folder, folder.path() / "runs");
  EXPECT_THAT(machine.runs.problem, IsEmpty());
  EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "a probe leaves nothing";
}

TEST(Probe, AFolderThatCannotBeWritten) {
  const Machine machine = probe("/proc/moe/runs");
  EXPECT_THAT(machine.runs.problem, HasSubstr("/proc: "));
}

TEST(Probe, SecretsOfTheEnvironmentStayThere) {
  const test::TestFolder folder;
  const Variable home("HF_HOME", folder.path().c_str()), token("HF_TOKEN", "hf_secretword"),
      key("WANDB_API_KEY", "secretkey"), proxy("https_proxy", "http://me:secretpass@proxy.example:3128"),
      bare("ALL_PROXY", "me:secretpass@other.example:1080");
  const Network network = probe(folder.path()).network;
  EXPECT_TRUE(network.hub_token);
  EXPECT_TRUE(network.wandb_key);
  EXPECT_THAT(network.proxies, Contains(Pair("https_proxy", "http://proxy.example:3128")));
  EXPECT_THAT(network.proxies, Contains(Pair("ALL_PROXY", "http://other.example:1080")));
}

TEST(Probe, AVariableThatCannotBeReadIsSaid) {
  const Variable token("HF_TOKEN", "secret word");
  const Network network = probe(".").network;
  EXPECT_THAT(network.problems, Contains(HasSubstr("HF_TOKEN")));
  EXPECT_THAT(network.problems, Not(Contains(HasSubstr("secret"))));
}

// One after another in this order: what is opened once is found afterwards.
TEST(ProbeGpus, TheBusAndNvml) {
  const test::TestFolder bus;
  bus.put("0000:00:01.0/vendor", "0x8086\n");
  bus.put("0000:00:01.0/class", "0x030000\n");
  bus.put("0000:3b:00.0/vendor", "0x10de\n");
  bus.put("0000:3b:00.0/class", "0x030200\n");
  bus.put("0000:3b:00.0/device", "0x2335\n");
  bus.put("0000:3b:00.1/vendor", "0x10de\n");  // a sound device
  bus.put("0000:3b:00.1/class", "0x040300\n");
  EXPECT_THAT(probe_gpus(bus.path()).bus, ElementsAre("10de:2335"));
  EXPECT_THAT(probe_gpus(bus.path() / "none").bus, IsEmpty());

  ASSERT_NE(dlopen(EMULATED_NVML, RTLD_NOW | RTLD_LOCAL), nullptr) << dlerror();
  const Gpus found = probe_gpus(bus.path());
  EXPECT_EQ(found.driver, "580.95.05");
  EXPECT_EQ(found.cuda, 13000);
  ASSERT_EQ(found.gpus.size(), 2U);
  EXPECT_EQ(found.gpus[0].name, "NVIDIA H100 80GB HBM3");
  EXPECT_EQ(found.gpus[0].memory, int64_t{80} << 30);
  EXPECT_EQ(found.gpus[0].memory_free, int64_t{60} << 30);
  EXPECT_EQ(found.gpus[0].capability, 90);
  EXPECT_EQ(found.gpus[0].power_limit, 700);
  EXPECT_EQ(found.gpus[0].clock, 1980);
  EXPECT_EQ(found.gpus[1].name, "NVIDIA L4");
  EXPECT_EQ(found.gpus[1].capability, 89);
  EXPECT_EQ(found.gpus[1].power_limit, 0) << "it tells of none";
}

}  // namespace
}  // namespace moe::doctor
