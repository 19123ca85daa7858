// SPDX-License-Identifier: MIT
// training.mixed_precision auto as a person meets it: said at the start, kept in the settings of the run, and
// never asked again of another machine. oneDNN's own limit stands for an older processor.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "support/cli.h"

namespace moe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Precision : public Cli {
 protected:
  void TearDown() override {
    unsetenv(kLimit);
    Cli::TearDown();
  }

  // Programs see a processor without products of bf16.
  static void on_an_older_processor() { setenv(kLimit, "AVX2", 1); }
  // As the kernel says, and not oneDNN.
  static bool has_bf16() {
    return std::getenv(kLimit) == nullptr &&
           read_file("/proc/cpuinfo").find("avx512_bf16") != std::string::npos;
  }
  std::string kept(const std::string& run = "runs/run") const {
    const std::string config = read_file(folder_ / run / "config.yaml");
    const size_t at = config.find("mixed_precision: ");
    return config.substr(at, config.find(' ', at + 17) - at);
  }
  static constexpr const char* kAuto = "data.source=text.txt training.mixed_precision=auto";

 private:
  static constexpr const char* kLimit = "ONEDNN_MAX_CPU_ISA";
};

TEST_F(Precision, AutoIsSettledAtTheStartAndKept) {
  const std::string expected = has_bf16() ? "bf16" : "no";
  const CommandResult trained = train(kAuto);
  ASSERT_EQ(trained.code, 0) << trained.output;
  EXPECT_THAT(trained.output, HasSubstr("\nprecision " + expected + ", of auto: "));
  EXPECT_EQ(kept(), has_bf16() ? "mixed_precision: bf16" : "mixed_precision: \"no\"");
}

TEST_F(Precision, ARunGoesOnAsItBeganOnAnotherMachine) {
  on_an_older_processor();
  const CommandResult trained = train(kAuto);
  ASSERT_EQ(trained.code, 0) << trained.output;
  EXPECT_THAT(trained.output, HasSubstr("\nprecision no, of auto: AVX2 does not multiply bf16\n"));
  EXPECT_EQ(kept(), "mixed_precision: \"no\"");
  ASSERT_EQ(train("data.source=text.txt training.mixed_precision=bf16 training.run_name=half").code, 0);
  const CommandResult half = moe("train --resume runs/half training.max_steps=4");
  ASSERT_EQ(half.code, 0) << half.output;
  EXPECT_EQ(kept("runs/half"), "mixed_precision: bf16");

  unsetenv("ONEDNN_MAX_CPU_ISA");
  const CommandResult resumed = moe("train --resume runs/run training.max_steps=4");
  ASSERT_EQ(resumed.code, 0) << resumed.output;
  EXPECT_THAT(resumed.output, Not(HasSubstr("precision ")));
  EXPECT_EQ(kept(), "mixed_precision: \"no\"");
}

TEST_F(Precision, APlanSaysIt) {
  on_an_older_processor();
  const std::string plan = std::string("plan --config config.yaml ") + kAuto;
  const CommandResult here = moe(plan);
  ASSERT_EQ(here.code, 0) << here.output;
  EXPECT_THAT(here.output, AllOf(HasSubstr("\nprecision      no, of auto: AVX2 does not multiply bf16\n"),
                                 Not(HasSubstr("weights (bf16 copy)"))));
  for (const char* const gpu : {" --gpu h100", " training.device=gpu"}) {
    const CommandResult there = moe(plan + gpu);
    ASSERT_EQ(there.code, 0) << there.output;
    EXPECT_THAT(there.output,
                AllOf(HasSubstr("\nprecision      bf16, of auto: a GPU's matrix units multiply bf16\n"),
                      HasSubstr("weights (bf16 copy)")));
  }
  EXPECT_THAT(moe("plan --config config.yaml").output, Not(HasSubstr("precision  ")));
}

// Every command that computes settles it.
TEST_F(Precision, AllCommandsTakeAuto) {
  ASSERT_EQ(train("data.source=text.txt").code, 0);
  const std::string set = " training.mixed_precision=auto";
  for (const std::string command :
       {"eval runs/run --max-batches 1", "generate runs/run --quiet --max-new-tokens 1",
        "export runs/run out --verify", "bench --config config.yaml --steps 1 --warmup 0",
        "bench --config config.yaml --part moe-layer --tokens 64 --steps 1 model.capacity_factor=0"}) {
    const CommandResult result = moe(command + set);
    EXPECT_EQ(result.code, 0) << command << result.output;
  }
  const CommandResult imported = moe("import out --verify --output runs/again" + set);
  ASSERT_EQ(imported.code, 0) << imported.output;
  EXPECT_EQ(kept("runs/again"), has_bf16() ? "mixed_precision: bf16" : "mixed_precision: \"no\"");
}

TEST_F(Precision, AnotherWordIsRefusedWithAllThatThereAre) {
  refused(train("data.source=text.txt training.mixed_precision=automatic"),
          HasSubstr("one of: auto, no, tf32, bf16, fp16"));
}

}  // namespace
}  // namespace moe
