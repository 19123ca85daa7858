// SPDX-License-Identifier: MIT
// A checkpoint whose weights are no numbers computes nothing: eval, generate and export say so, by the
// tensor's name, and end with 1.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "support/cli.h"

namespace moe {
namespace {

using ::testing::HasSubstr;

constexpr const char* kTensor = "final_norm.weight";

// Saves the last checkpoint again with one value of the tensor changed.
void spoil(const std::filesystem::path& checkpoints, float value) {
  checkpoint::CheckpointStore store(checkpoints, 0, "moe");
  const checkpoint::Checkpoint last = store.open_latest();
  const checkpoint::Safetensors& model = last.file("model.safetensors");
  std::vector<checkpoint::TensorStream> streams;
  for (const auto& entry : model.entries()) {
    const bool chosen = entry.name == kTensor;
    const auto bytes = model.bytes(entry);
    streams.push_back({entry.name, DType::f32, entry.shape, [=](const checkpoint::TensorStream::Sink& sink) {
                         std::vector<uint8_t> copy(bytes.begin(), bytes.end());
                         if (chosen) std::memcpy(copy.data() + 4 * 5, &value, sizeof(value));
                         sink(copy.data(), copy.size());
                       }});
  }
  store.save(last.step(), checkpoint::CheckpointStore::Streams{{"model.safetensors", streams}},
             last.state_json());
}

class NotFinite : public Cli {};

TEST_F(NotFinite, WeightsThatAreNoNumbersAreRefusedByName) {
  ASSERT_EQ(train("data.source=text.txt").code, 0);
  spoil(folder_ / "runs/run/checkpoints", std::nanf(""));
  for (const char* command :
       {"eval runs/run --source text.txt", "generate runs/run --prompt The", "export runs/run out"}) {
    const CommandResult result = moe(command);
    EXPECT_EQ(result.code, 1) << command;
    // An export names it as its own format does.
    EXPECT_THAT(result.output, ::testing::AnyOf(HasSubstr(kTensor), HasSubstr("model.norm.weight")))
        << command;
    EXPECT_THAT(result.output, HasSubstr("NaN")) << command;
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

// 3e38 is a number; times an activation above 1.2 it is infinite, and so are the logits.
TEST_F(NotFinite, ALossThatIsNotFiniteEndsAnEvaluationWithOne) {
  ASSERT_EQ(train("data.source=text.txt").code, 0);
  spoil(folder_ / "runs/run/checkpoints", 3e38F);
  const CommandResult result = moe("eval runs/run --source text.txt --json");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.output, HasSubstr("expected a finite loss"));
}

}  // namespace
}  // namespace moe
