// SPDX-License-Identifier: MIT
// moe finetune: from a small run to one that learns conversations, and what it says of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/safetensors.h"
#include "support/cli.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Finetune : public Cli {
 protected:
  void SetUp() override {
    Cli::SetUp();
    std::string lines;
    for (int i = 0; i < 40; ++i)
      lines +=
          nlohmann::json{{"instruction", "Say " + std::to_string(i)}, {"output", std::to_string(i)}}.dump() +
          "\n";
    write_file_atomically(folder_ / "chat.jsonl", lines);
    const CommandResult made = train("data.source=text.txt");
    ASSERT_EQ(made.code, 0) << made.output;
  }
  CommandResult finetune(const std::string& more = "") {
    return moe(
        "finetune runs/run -o runs/chat data.source=chat.jsonl training.max_steps=4 "
        "training.learning_rate=1e-3 training.warmup_steps=1 training.eval_every=0 " +
        more);
  }
  std::vector<double> losses(const std::string& run) const {
    std::vector<double> found;
    std::ifstream rows(folder_ / run / "metrics.jsonl");
    for (std::string line; std::getline(rows, line);) {
      const auto row = nlohmann::json::parse(line);
      if (row.contains("loss")) found.push_back(row["loss"]);
    }
    return found;
  }
  checkpoint::Safetensors weights(const std::string& run, int step) const {
    return checkpoint::Safetensors(folder_ / run / "checkpoints" / ("step-0000000" + std::to_string(step)) /
                                   "model.safetensors");
  }
};

TEST_F(Finetune, BeginsWithTheWeightsAndLearnsAnswers) {
  const CommandResult made = finetune();
  ASSERT_EQ(made.code, 0) << made.output;
  const auto before = weights("runs/run", 3), begun = weights("runs/chat", 0);
  EXPECT_EQ(before.values<float>("layers.0.moe.down.weight"),
            begun.values<float>("layers.0.moe.down.weight"));
  EXPECT_TRUE(fs::exists(folder_ / "runs/chat/chat/chat_template.jinja"));
  const std::string yaml = read_file(folder_ / "runs/chat/config.yaml");
  EXPECT_THAT(yaml, AllOf(HasSubstr("stage: sft"), HasSubstr("packing: best_fit"),
                          HasSubstr("conversations: auto"), HasSubstr("aux_loss_weight: 0")));
  const CommandResult trained = moe("train --resume runs/chat");
  ASSERT_EQ(trained.code, 0) << trained.output;
  EXPECT_EQ(losses("runs/chat").size(), 4u);
}

TEST_F(Finetune, GoesOnBitForBit) {
  ASSERT_EQ(finetune().code, 0);
  fs::copy(folder_ / "runs/chat", folder_ / "runs/other", fs::copy_options::recursive);
  ASSERT_EQ(moe("train --resume runs/chat").code, 0);
  ASSERT_EQ(moe("train --resume runs/other training.max_minutes=0 training.checkpoint_every=2").code, 0);
  fs::remove_all(folder_ / "runs/other/checkpoints/step-00000004");
  ASSERT_EQ(moe("train --resume runs/other").code, 0);
  EXPECT_EQ(weights("runs/chat", 4).values<float>("layers.0.moe.down.weight"),
            weights("runs/other", 4).values<float>("layers.0.moe.down.weight"));
}

TEST_F(Finetune, RoutersMayStay) {
  ASSERT_EQ(finetune("training.router_lr_scale=0").code, 0);
  ASSERT_EQ(moe("train --resume runs/chat").code, 0);
  const std::string router = "layers.0.moe.router.weight", expert = "layers.0.moe.down.weight";
  EXPECT_EQ(weights("runs/chat", 4).values<float>(router), weights("runs/run", 3).values<float>(router));
  EXPECT_NE(weights("runs/chat", 4).values<float>(expert), weights("runs/run", 3).values<float>(expert));
}

TEST_F(Finetune, InspectShowsWhatIsLearned) {
  ASSERT_EQ(finetune().code, 0);
  const CommandResult shown = moe("data inspect --config runs/chat/config.yaml");
  ASSERT_EQ(shown.code, 0) << shown.output;
  EXPECT_THAT(shown.output, AllOf(HasSubstr("the first conversation, what is learned in [[ ]]"),
                                  HasSubstr("<|im_start|>|user"), HasSubstr("<|im_end|>]]")));
}

TEST_F(Finetune, OtherModelsAndTextsAreRefused) {
  complains(finetune("model.n_layers=3"), HasSubstr("n_layers"));
  complains(finetune("data.packing=concat"), HasSubstr("best_fit or pad"));
  complains(finetune("data.tokenizer=gpt2:300"), HasSubstr("data.tokenizer"));
  EXPECT_FALSE(fs::exists(folder_ / "runs/chat"));
}

}  // namespace
}  // namespace moe
