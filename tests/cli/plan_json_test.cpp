// SPDX-License-Identifier: MIT
// moe plan for programs, and what it says of a configuration in layers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>
#include <string>

#include "support/cli.h"

namespace moe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Result = CommandResult;
using Json = nlohmann::json;

class PlanJson : public Cli {
 protected:
  Json plan(const std::string& words) const {
    const Result result = moe("plan --json --config config.yaml training.mixed_precision=bf16 " + words, "");
    EXPECT_EQ(result.code, 0) << result.output;
    return Json::parse(result.output);
  }
};

TEST_F(PlanJson, SaysWhatTheWordsSay) {
  const Json plan = this->plan("--gpu h100 --gpus 2 training.gradient_accumulation_steps=3");
  const std::string words = moe("plan --config config.yaml training.mixed_precision=bf16 --gpu h100 --gpus 2 "
                                "training.gradient_accumulation_steps=3")
                                .output;
  EXPECT_EQ(plan.at("moe_plan"), 1);
  EXPECT_THAT(words, HasSubstr("parameters     " + plan.at("parameters").dump() + " total"));
  EXPECT_THAT(words, HasSubstr(plan.at("active_parameters").dump() + " active"));
  EXPECT_EQ(plan.at("tokens_per_step"), 2 * 3 * 2 * 32);
  EXPECT_EQ(plan.at("micro_batch"), Json({{"rows", 2}, {"row_tokens", 32}, {"per_step", 3}}));
  EXPECT_EQ(plan.at("steps"), 3);
  EXPECT_EQ(plan.at("tokens"), 3 * 384);
  EXPECT_EQ(plan.at("precision"), "bf16");
  EXPECT_EQ(plan.at("device"), "h100");
  int64_t sum = 0;
  for (const Json& part : plan.at("memory").at("parts")) sum += part.at("bytes").get<int64_t>();
  EXPECT_EQ(plan.at("memory").at("bytes"), sum);
  EXPECT_EQ(plan.at("memory").at("fits"), true);
  ASSERT_EQ(plan.at("layouts").size(), 3U);
  const Json& zero1 = plan.at("layouts").at(1);
  EXPECT_EQ(zero1.at("layout"), "zero1");
  EXPECT_EQ(zero1.at("chosen"), true);
  EXPECT_EQ(zero1.at("memory_bytes"), plan.at("memory").at("bytes"));
  EXPECT_NEAR(zero1.at("tokens_per_second").get<double>() * zero1.at("step_seconds").get<double>(), 384,
              1e-6);
}

TEST_F(PlanJson, OfAGpuByItsMemoryThereAreNoTimes) {
  const Json fits = plan("--gpu memory=7"), not_fits = plan("--gpu memory=0.01");
  EXPECT_EQ(fits.at("memory").at("free_bytes"), 7LL << 30);
  EXPECT_EQ(fits.at("memory").at("fits"), true);
  EXPECT_EQ(not_fits.at("memory").at("fits"), false);
  EXPECT_FALSE(fits.at("layouts").at(0).contains("tokens_per_second"));
}

// What so many ranks cannot have is said, and is no error as long as it is not what was chosen.
TEST_F(PlanJson, ALayoutThatCannotBe) {
  const Json plan = this->plan("--gpu h100 --gpus 3");
  const Json& expert = plan.at("layouts").at(2);
  EXPECT_EQ(expert.at("layout"), "expert");
  EXPECT_THAT(expert.at("error").get<std::string>(), HasSubstr("num_experts"));
  EXPECT_EQ(moe("plan --json --config config.yaml --gpus 3 distributed.layout=expert").code, 1);
}

TEST_F(PlanJson, IsNothingButJsonWhereThereIsNoGpu) {
  EXPECT_EQ(plan("training.device=gpu").at("moe_plan"), 1);
}

TEST_F(PlanJson, ALayerSaysWhatItChanged) {
  put("over.yaml", "training: {max_steps: 7, batch_size: 2}\ndata:\n  source: [a, b]\n");
  put("under.yaml", std::string(kTinyConfig) + "data:\n  source: [c]\n");
  const Result plan =
      moe("plan --config under.yaml --config over.yaml model.top_k=1 model.renormalize_top_k=false");
  EXPECT_THAT(plan.output, HasSubstr("settings       under.yaml, and over it\n"
                                     "  over.yaml\n"
                                     "    training.max_steps=7 (was 3)\n"
                                     "    data.source=[a, b] (was [c])\n"
                                     "  command line\n"
                                     "    model.top_k=1 (was 2)\n"
                                     "    model.renormalize_top_k=false (was true)\n"));
  // Of two settings for one thing, the one that counted before is told.
  const Result shorter = moe("plan --config moe_10m data.source=text.txt training.max_steps=20");
  EXPECT_THAT(shorter.output, HasSubstr("    training.max_steps=20 (was max_tokens=70000000)\n"));
  EXPECT_THAT(shorter.output, Not(HasSubstr("training.max_tokens=")));
  EXPECT_THAT(moe("plan --config config.yaml training.max_tokens=6400").output,
              HasSubstr("    training.max_tokens=6400 (was max_steps=3)\n"));
  EXPECT_THAT(moe("plan --config config.yaml").output, Not(HasSubstr("settings  ")));
  // A pipe can be read once: who opens it again waits for ever.
  ASSERT_EQ(mkfifo(at("pipe").c_str(), 0600), 0);
  const Result piped = moe("plan --config pipe model.n_layers=2",
                           "2>&1 & cat '" + at("under.yaml") + "' > '" + at("pipe") + "'; wait; true");
  EXPECT_THAT(piped.output, HasSubstr("    model.n_layers=2 (was 1)\n"));
  put("secret.yaml", "data:\n  source: [\"https://user:hush@host/file.jsonl\"]\n");
  EXPECT_THAT(moe("plan --config config.yaml --config secret.yaml").output,
              AllOf(HasSubstr("data.source="), Not(HasSubstr("hush"))));
}

}  // namespace
}  // namespace moe
