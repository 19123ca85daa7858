// SPDX-License-Identifier: MIT
// moe import and moe plan of a model on the hub: what is asked in which order, what a cut connection and a
// killed process leave, and what is done without a network.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "support/cli.h"
#include "support/hub_server.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

class HubImport : public Cli {
 protected:
  void SetUp() override {
    Cli::SetUp();
    ASSERT_EQ(train("data.source=text.txt training.max_steps=0 training.warmup_steps=0").code, 0);
    ASSERT_EQ(moe("export runs/run root/models/us/er --without-run --shard-gb 0.004").code, 0);
    put("root/models/us/er/pytorch_model.bin", "not asked for");
    server_.emplace(folder_ / "root");
  }

  CommandResult hub(const std::string& arguments, const std::string& environment = "") const {
    const std::string set = "env HF_ENDPOINT=" + server_->endpoint() + " HF_HOME='" + at("hf") +
                            "' MOE_NET_FIRST_WAIT=0.01 MOE_NET_LONGEST_WAIT=0.02 " + environment + " '" +
                            MOE_PROGRAM + "' ";
    return moe("--version > /dev/null; " + set + arguments);
  }
  nlohmann::json report() const { return nlohmann::json::parse(server_->control()); }
  // The files that were asked for, in order.
  std::vector<std::string> asked() const {
    const nlohmann::json said = report();
    std::vector<std::string> paths;
    for (const auto& entry : said.at("log"))
      if (entry[1] == "resolve") paths.push_back(entry[2]);
    return paths;
  }
  // Into the cache: what stands before the weights. A contradicting setting ends the import there.
  void settings_alone() const {
    complains(hub("import hf://us/er model.n_layers=2"), HasSubstr("as config.json says"));
  }
  void same_weights(const std::string& run) const {
    const std::string weights = "checkpoints/step-00000000/model.safetensors";
    EXPECT_EQ(read_file(folder_ / "runs/run" / weights), read_file(folder_ / run / weights));
  }

  std::optional<test::HubServer> server_;
};

TEST_F(HubImport, IsAsFromAFolderAndThenFromTheCache) {
  const CommandResult imported = hub("import hf://us/er");
  ASSERT_EQ(imported.code, 0) << imported.output;
  EXPECT_THAT(imported.output, AllOf(HasSubstr("fetching us/er"), HasSubstr("bit for bit as in hf://us/er")));
  same_weights("runs/er");
  EXPECT_EQ(moe("generate runs/er --prompt a --max-new-tokens 2").code, 0);
  const auto files = asked();
  ASSERT_FALSE(files.empty());
  EXPECT_THAT(files, Not(Contains(HasSubstr("pytorch_model.bin"))));
  EXPECT_THAT(files.front(), EndsWith("config.json"));
  EXPECT_THAT(files.back(), EndsWith(".safetensors"));

  // The second time nothing is fetched; the third nobody is asked.
  server_->control("{}");
  ASSERT_EQ(hub("import hf://us/er@main --output runs/again").code, 0);
  EXPECT_EQ(report().at("counts").value("bytes", 0), 0);
  server_->control("{}");
  const CommandResult offline = hub("import hf://us/er --output runs/offline", "HF_HUB_OFFLINE=1");
  ASSERT_EQ(offline.code, 0) << offline.output;
  EXPECT_EQ(report().at("counts").value("api", 0), 0);
  same_weights("runs/offline");
}

TEST_F(HubImport, WhatMoeCannotReadIsRefusedBeforeAnyWeightIsFetched) {
  const std::string config = "root/models/us/er/config.json";
  const auto whole = nlohmann::json::parse(read_file(folder_ / config));
  const auto refused = [&](const nlohmann::json& json, const std::string& words) {
    put(config, json.dump());
    complains(hub("import hf://us/er"), HasSubstr(words));
    EXPECT_THAT(asked(), Not(Contains(EndsWith(".safetensors"))));
    EXPECT_FALSE(fs::exists(folder_ / "runs/er"));
  };
  auto changed = whole;
  changed["model_type"] = "deepseek_v3";
  refused(changed, "multi-head latent attention");
  changed = whole;
  changed["quantization_config"] = {{"bits", 4}};
  refused(changed, "quantization_config");
  changed = whole;
  changed["num_hidden_layers"] = 2;
  changed["layer_types"] = {"full_attention", "full_attention"};
  refused(changed, "tensor model.layers.1.");  // by the index
  put(config, whole.dump());
  fs::remove(folder_ / "root/models/us/er/tokenizer.json");  // it would do
  put("root/models/us/er/vocab.json", "{}");
  complains(hub("import hf://us/er"), HasSubstr("another tokenizer needs its tokenizer.json"));
  EXPECT_THAT(asked(), Not(Contains(EndsWith(".safetensors"))));
  complains(hub("import hf://datasets/us/er"), HasSubstr("a data set"));
  complains(hub("import hf://us/other"), HasSubstr("us/other"));
  complains(moe("import us/er"), HasSubstr("hf://us/er"));
}

TEST_F(HubImport, APlanNeedsTheSettingsAlone) {
  const CommandResult plan = hub("plan hf://us/er");
  ASSERT_EQ(plan.code, 0) << plan.output;
  EXPECT_THAT(plan.output, AllOf(HasSubstr("model          hf://us/er: qwen3_next"),
                                 HasSubstr("files          2 with the weights, 6."),
                                 HasSubstr("50304 ids, as config.json says")));
  EXPECT_THAT(asked(), Not(Contains(EndsWith(".safetensors"))));
  EXPECT_THAT(asked(), Not(Contains(EndsWith("vocab.json"))));
}

TEST_F(HubImport, WeightsOfAnotherFormatAreRefused) {
  for (const auto& entry : fs::directory_iterator(folder_ / "root/models/us/er"))
    if (entry.path().filename().string().starts_with("model")) fs::remove(entry.path());
  complains(hub("import hf://us/er"), AllOf(HasSubstr("model.safetensors"), HasSubstr("save_pretrained")));
}

TEST_F(HubImport, ACutConnectionGoesOnAtItsByte) {
  server_->control(R"({"scope": "cdn", "script": ["", "", "truncate", "reset-body", "503"]})");
  const CommandResult imported = hub("import hf://us/er");
  ASSERT_EQ(imported.code, 0) << imported.output;
  EXPECT_GE(report().at("faults").size(), 2U);
  same_weights("runs/er");
}

// The server stalls half-way through a file; the process is killed there.
TEST_F(HubImport, AKilledProcessLeavesNoRunAndTheNextOneGoesOn) {
  const uint64_t all = [&] {
    uint64_t bytes = 0;
    for (const auto& entry : fs::directory_iterator(folder_ / "root/models/us/er"))
      if (entry.path().extension() == ".safetensors") bytes += fs::file_size(entry);
    return bytes;
  }();
  settings_alone();  // what comes now are weights
  server_->control(R"({"scope": "cdn", "rate": 1, "kinds": ["stall-body"], "pause": 20})");
  const CommandResult killed = hub("import hf://us/er", "HF_HUB_DOWNLOAD_TIMEOUT=60 timeout -s KILL 4");
  EXPECT_EQ(killed.code, 128 + 9) << killed.output;
  EXPECT_FALSE(fs::exists(folder_ / "runs/er"));
  uint64_t kept = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "hf"))
    if (entry.path().extension() == ".incomplete") kept += entry.file_size();
  EXPECT_GT(kept, 0U);

  server_->control("{}");
  const CommandResult again = hub("import hf://us/er");
  ASSERT_EQ(again.code, 0) << again.output;
  EXPECT_THAT(again.output, HasSubstr("going on at byte"));
  EXPECT_LE(report().at("counts").value("bytes", uint64_t{0}), all - kept + 4'000'000);
  same_weights("runs/er");
  for (const auto& entry : fs::directory_iterator(folder_ / "runs"))
    EXPECT_THAT(entry.path().filename().string(), Not(HasSubstr(".partial-")));
}

TEST_F(HubImport, AnIncompleteCacheSaysWhatIsMissing) {
  settings_alone();
  complains(hub("import hf://us/er", "HF_HUB_OFFLINE=1"),
            AllOf(HasSubstr(".safetensors"), HasSubstr("HF_HUB_OFFLINE")));
  EXPECT_FALSE(fs::exists(folder_ / "runs/er"));
}

}  // namespace
}  // namespace moe
