// SPDX-License-Identifier: MIT
// moe doctor on the machine of the tests, whatever it has.
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "support/cli.h"

namespace moe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(Cli, DoctorSaysWhereTrainingWorks) {
  const CommandResult result = moe("doctor");
  EXPECT_EQ(result.code, 0) << result.output;
  EXPECT_THAT(result.output,
              AllOf(HasSubstr("ok       processor"), HasSubstr("ok       memory"),
                    HasSubstr("free for " + at("runs")), HasSubstr("training works here, on")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "runs"));
}

TEST_F(Cli, DoctorAnswersTools) {
  const CommandResult result = moe("doctor --json", "2>/dev/null");
  EXPECT_EQ(result.code, 0);
  const auto json = nlohmann::json::parse(result.output);
  EXPECT_THAT(json.at("trains_on").get<std::string>(), ::testing::AnyOf("cpu", "gpu"));
  EXPECT_GT(json.at("machine").at("memory_free").get<int64_t>(), 0);
}

TEST_F(Cli, DoctorJudgesAConfiguration) {
  const CommandResult fits = moe("doctor --config config.yaml data.source=text.txt");
  EXPECT_EQ(fits.code, 0) << fits.output;
  EXPECT_THAT(fits.output, AllOf(HasSubstr("ok       configuration needs "),
                                 HasSubstr("this configuration trains here, on CPU")));
  const CommandResult large =
      moe("doctor --config config.yaml data.source=text.txt model.d_model=32768 model.n_heads=256 "
          "model.n_kv_heads=256 model.n_layers=96");
  EXPECT_EQ(large.code, 1);
  EXPECT_THAT(large.output, AllOf(HasSubstr("missing  configuration CPU"), HasSubstr("of free memory"),
                                  HasSubstr("this configuration does not train here")));
  complains(moe("doctor --config config.yaml model.d_modell=1"), HasSubstr("d_model"));
}

TEST_F(Cli, DoctorNeedsAPlaceForRuns) {
  const CommandResult result = moe("doctor data.source=text.txt training.output_dir=/proc/runs");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.output, AllOf(HasSubstr("missing  runs          /proc/runs cannot be written (/proc: "),
                                   HasSubstr("training does not start here")));
}

TEST_F(Cli, DoctorShowsNoSecret) {
  ::setenv("HF_TOKEN", "hf_secretword", 1);
  ::setenv("WANDB_API_KEY", "secretkey", 1);
  ::setenv("https_proxy", "http://me:secretpass@proxy.example:3128", 1);
  for (const char* const arguments : {"doctor", "doctor --json"})
    EXPECT_THAT(moe(arguments).output, AllOf(HasSubstr("proxy.example"), HasSubstr("with a token"),
                                             HasSubstr("with a key"), Not(HasSubstr("secret"))));
  for (const char* const name : {"HF_TOKEN", "WANDB_API_KEY", "https_proxy"}) ::unsetenv(name);
}

}  // namespace
}  // namespace moe
