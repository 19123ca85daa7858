// SPDX-License-Identifier: MIT
// moe upcycle, from a small dense run to training the result further.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "checkpoint/safetensors.h"
#include "support/cli.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Upcycle : public Cli {
 protected:
  void make_dense() {
    const CommandResult made =
        train("data.source=text.txt model.first_dense_layers=1 model.dense_intermediate_dim=48");
    ASSERT_EQ(made.code, 0) << made.output;
  }
  double loss(const std::string& run) const {
    const CommandResult result =
        moe("eval " + run + " --json --source text.txt data.document_split=line", "2>/dev/null");
    EXPECT_EQ(result.code, 0) << result.output;
    return nlohmann::json::parse(result.output).at("loss");
  }
  checkpoint::Safetensors weights(const std::string& run, int step) const {
    return checkpoint::Safetensors(folder_ / run / "checkpoints" / ("step-0000000" + std::to_string(step)) /
                                   "model.safetensors");
  }
};

TEST_F(Upcycle, TheResultComputesWhatTheDenseModelDoesAndTrainsOn) {
  make_dense();
  const CommandResult made = moe("upcycle runs/run --experts 3 --top-k 2 -o runs/upcycled");
  ASSERT_EQ(made.code, 0) << made.output;
  EXPECT_THAT(made.output,
              HasSubstr("runs/upcycled: 3 experts a layer from runs/run; logits of 32 tokens differ by"));
  EXPECT_NEAR(loss("runs/upcycled"), loss("runs/run"), 1e-5);

  const checkpoint::Safetensors dense = weights("runs/run", 3), experts = weights("runs/upcycled", 0);
  for (const char* part : {"gate_up.weight", "down.weight"}) {
    const auto one = dense.values<float>(std::string("layers.0.dense.") + part);
    const auto all = experts.values<float>(std::string("layers.0.moe.") + part);
    ASSERT_EQ(all.size(), 3 * one.size());
    for (size_t e = 0; e < 3; ++e)
      EXPECT_TRUE(
          std::equal(one.begin(), one.end(), all.begin() + static_cast<std::ptrdiff_t>(e * one.size())));
  }
  const auto router = experts.values<float>("layers.0.moe.router.weight");
  EXPECT_EQ(router.size(), 3 * 32);
  EXPECT_NE(router.front(), router.back());

  const CommandResult further = moe("train --resume runs/upcycled training.max_steps=2");
  EXPECT_EQ(further.code, 0) << further.output;
  EXPECT_TRUE(fs::exists(folder_ / "runs/upcycled/checkpoints/step-00000002/manifest.json"));
}

TEST_F(Upcycle, NoiseSetsExpertsApart) {
  make_dense();
  for (const char* name : {"a", "b"}) {
    const CommandResult made =
        moe("upcycle runs/run --experts 2 --noise 0.1 --seed 7 -o runs/" + std::string(name));
    ASSERT_EQ(made.code, 0) << made.output;
  }
  const auto one = weights("runs/run", 3).values<float>("layers.0.dense.down.weight");
  const auto both = weights("runs/a", 0).values<float>("layers.0.moe.down.weight");
  EXPECT_EQ(both, weights("runs/b", 0).values<float>("layers.0.moe.down.weight")) << "the same seed";
  double squares = 0, added = 0, apart = 0;
  const size_t n = one.size();
  for (size_t i = 0; i < n; ++i) {
    squares += one[i] * one[i];
    added += (both[i] - one[i]) * (both[i] - one[i]);
    apart += (both[i] - both[n + i]) * (both[i] - both[n + i]);
  }
  EXPECT_NEAR(added / squares, 0.01, 0.002);  // 0.1 squared, of 1,536 draws
  EXPECT_NEAR(apart / squares, 0.02, 0.004);
}

TEST_F(Upcycle, Bf16WeightsAndSettingsOfNoLayerAreNoHindrance) {
  ASSERT_EQ(train("data.source=text.txt model.first_dense_layers=1 model.shared_expert_dim=8 "
                  "model.router_bias_rate=0.001 model.router_scale=2 training.mixed_precision=bf16 "
                  "training.master_weights=bf16 training.gradient_type=bf16 model.dense_intermediate_dim=48")
                .code,
            0);
  const CommandResult made = moe("upcycle runs/run --experts 3 -o runs/upcycled model.max_seq_len=16");
  ASSERT_EQ(made.code, 0) << made.output;
  EXPECT_EQ(moe("train --resume runs/upcycled training.max_steps=1").code, 0);
}

TEST_F(Upcycle, WhatIsNoDenseModelIsRefused) {
  ASSERT_EQ(train("data.source=text.txt").code, 0);
  const auto leaves_nothing = [&](const CommandResult& result, const auto& message) {
    complains(result, message);
    EXPECT_FALSE(fs::exists(folder_ / "runs/new")) << result.output;
  };
  leaves_nothing(moe("upcycle runs/run -o runs/new"),
                 AllOf(HasSubstr("a dense model"), HasSubstr("moe import")));
  fs::remove_all(folder_ / "runs");
  make_dense();
  leaves_nothing(moe("upcycle runs/run --experts 1 -o runs/new"), HasSubstr("--experts"));
  leaves_nothing(moe("upcycle runs/run --experts 2 --top-k 3 -o runs/new"), HasSubstr("model.top_k"));
  leaves_nothing(moe("upcycle runs/run --top-k 1 -o runs/new"), HasSubstr("--top-k"));
  leaves_nothing(moe("upcycle runs/run --noise -1 -o runs/new"), HasSubstr("--noise"));
  leaves_nothing(moe("upcycle runs/run --noise 1e38 -o runs/new"), HasSubstr("--noise"));
  for (const char* setting : {"model.expert_intermediate_dim=24", "model.router_scale=2", "model.d_model=64",
                              "model.first_dense_layers=1", "model.rope_theta=500"})
    leaves_nothing(moe(std::string("upcycle runs/run --noise 0.01 -o runs/new ") + setting),
                   HasSubstr(std::string(setting).substr(0, std::string(setting).find('='))));
  leaves_nothing(
      moe("upcycle runs/run -o runs/new training.mixed_precision=bf16 training.master_weights=bf16"),
      HasSubstr("training.master_weights"));
  leaves_nothing(moe("upcycle runs/none -o runs/new"), HasSubstr("runs/none"));
  complains(moe("upcycle runs/run -o runs/run"), HasSubstr("runs/run"));
}

}  // namespace
}  // namespace moe
