// SPDX-License-Identifier: MIT
// moe merge, from checkpoints of a small run to commands that take the mean. Its files are read here by a
// reader of this test's own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "support/cli.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Merge : public Cli {
 protected:
  static std::string step(int n) { return "runs/run/checkpoints/step-0000000" + std::to_string(n); }

  void make_run() {
    const CommandResult made =
        train("data.source=text.txt training.checkpoint_every=1 training.keep_checkpoints=9");
    ASSERT_EQ(made.code, 0) << made.output;
  }

  // All F32 tensors of a checkpoint, by name.
  std::map<std::string, std::vector<float>> weights(const std::string& checkpoint) const {
    const std::string bytes = read_file(folder_ / checkpoint / "model.safetensors");
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    const auto header = nlohmann::json::parse(bytes.substr(8, length));
    std::map<std::string, std::vector<float>> tensors;
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") continue;
      EXPECT_EQ(entry["dtype"], "F32") << name;
      const auto begin = entry["data_offsets"][0].get<size_t>(), end = entry["data_offsets"][1].get<size_t>();
      tensors[name].resize((end - begin) / 4);
      std::memcpy(tensors[name].data(), bytes.data() + 8 + length + begin, end - begin);
    }
    return tensors;
  }

  void leaves_nothing(const CommandResult& result, const std::string& message) const {
    complains(result, HasSubstr(message));
    for (const auto& entry : fs::directory_iterator(folder_ / "runs"))
      EXPECT_EQ(entry.path().filename().string().find("merged"), std::string::npos) << entry.path();
  }
};

TEST_F(Merge, IsTheMeanAndARunForEveryCommand) {
  make_run();
  const CommandResult merged =
      moe("merge " + step(1) + " " + step(2) + " " + step(3) + " --weights 1,1,2 -o runs/merged");
  ASSERT_EQ(merged.code, 0) << merged.output;
  EXPECT_THAT(merged.output, HasSubstr("step-00000003"));
  const auto one = weights(step(1)), two = weights(step(2)), three = weights(step(3)),
             mean = weights("runs/merged/checkpoints/step-00000003");
  ASSERT_EQ(mean.size(), one.size());
  bool moved = false;
  for (const auto& [name, values] : mean) {
    ASSERT_EQ(values.size(), one.at(name).size()) << name;
    for (size_t i = 0; i < values.size(); ++i) {
      const double exact = (double{one.at(name)[i]} + two.at(name)[i] + 2 * double{three.at(name)[i]}) / 4;
      ASSERT_EQ(values[i], static_cast<float>(exact)) << name << " " << i;
      moved = moved || values[i] != three.at(name)[i];
    }
  }
  EXPECT_TRUE(moved);
  EXPECT_FALSE(fs::exists(folder_ / "runs/merged/checkpoints/step-00000003/optimizer.safetensors"));
  EXPECT_EQ(nlohmann::json::parse(read_file(folder_ / "runs/merged/merge.json"))["merged"][2]["weight"], 2.0);

  EXPECT_EQ(moe("eval runs/merged --max-batches 1").code, 0);
  EXPECT_EQ(moe("generate runs/merged --prompt The --max-new-tokens 2").code, 0);
  EXPECT_EQ(moe("export runs/merged out").code, 0);
  const CommandResult resumed = moe("train --resume runs/merged training.max_steps=4");
  EXPECT_EQ(resumed.code, 0) << resumed.output;
  EXPECT_THAT(resumed.output,
              AllOf(HasSubstr("at step 3"), HasSubstr("weights only"), HasSubstr("at step 4")));
  EXPECT_EQ(moe("merge runs/merged runs/run -o runs/again").code, 0);
}

TEST_F(Merge, AWeightOfZeroLeavesTheOther) {
  make_run();
  ASSERT_EQ(moe("merge " + step(1) + " " + step(2) + " --weights 0,3 -o runs/merged").code, 0);
  EXPECT_EQ(read_file(folder_ / "runs/merged/checkpoints/step-00000002/model.safetensors"),
            read_file(folder_ / step(2) / "model.safetensors"));
}

TEST_F(Merge, WhatCannotBeMergedIsRefused) {
  make_run();
  const std::string pair = "merge " + step(1) + " " + step(2) + " -o runs/merged ";
  leaves_nothing(moe("merge runs/run -o runs/merged"), "two checkpoints at least");
  leaves_nothing(moe(pair + "--weights 1"), "2, one for each checkpoint");
  leaves_nothing(moe(pair + "--weights=-1,1"), "weights with a positive sum");
  leaves_nothing(moe(pair + "--weights 1,x"), "\"x\"");
  leaves_nothing(moe(pair + "--weights 1,nan"), "numbers with commas between");
  leaves_nothing(moe("merge runs/run nowhere -o runs/merged"), "nowhere");
  complains(moe("merge " + step(1) + " " + step(2) + " -o runs/run"), HasSubstr("a new or empty folder"));

  const std::string other =
      "train --config config.yaml data.source=text.txt data.document_split=line "
      "training.run_name=other ";
  ASSERT_EQ(moe(other + "model.num_experts=8").code, 0);
  leaves_nothing(moe("merge runs/run runs/other -o runs/merged"), "model.num_experts: 4, other 8");
  fs::remove_all(folder_ / "runs/other");
  // The same shapes, and another function.
  ASSERT_EQ(moe(other + "model.rope_theta=500").code, 0);
  leaves_nothing(moe("merge runs/run runs/other -o runs/merged"), "model.rope_theta");
  fs::remove_all(folder_ / "runs/other");
  ASSERT_EQ(moe(other + "training.mixed_precision=bf16 training.master_weights=bf16").code, 0);
  leaves_nothing(moe("merge runs/run runs/other -o runs/merged"), "BF16");
  const std::string full = "--version > /dev/null; trap '' XFSZ; ulimit -f 256; '" MOE_PROGRAM "' ";
  leaves_nothing(moe(full + pair), "safetensors");
}

}  // namespace
}  // namespace moe
