// SPDX-License-Identifier: MIT
// The configurations that the program carries, as it is used where there is no clone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/file.h"
#include "support/cli.h"
#include "support/source_dir.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Result = CommandResult;

TEST_F(Cli, PresetsAreListedAndPrinted) {
  const Result listed = moe("presets");
  ASSERT_EQ(listed.code, 0) << listed.output;
  for (const auto& entry : fs::recursive_directory_iterator(test::source_dir() / "configs")) {
    if (entry.path().extension() != ".yaml") continue;
    EXPECT_THAT(listed.output, HasSubstr("  " + entry.path().stem().string() + " "));
    const Result printed = moe("presets " + entry.path().stem().string());
    EXPECT_EQ(printed.code, 0);
    EXPECT_EQ(printed.output, read_file(entry.path())) << entry.path();
  }
  EXPECT_THAT(moe("presets quickstrt").output, HasSubstr("did you mean quickstart?"));
  EXPECT_EQ(moe("presets quickstrt").code, 1);
}

TEST_F(Cli, ANameIsAPresetWhereThereIsNoFile) {
  const Result planned = moe("plan --config quickstart training.device=cpu");
  EXPECT_EQ(planned.code, 0) << planned.output;
  EXPECT_EQ(moe("plan --config quickstart --config config.yaml training.lr_schedule=cosine").code, 0);
  const Result unknown = moe("plan --config quickstrt");
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.output, AllOf(HasSubstr("--config: expected a file, or a preset (moe_1.7b, moe_10m"),
                                    HasSubstr("did you mean quickstart?")));
  // Where the repository is not, its paths lead nowhere; the program has what stands there.
  EXPECT_THAT(moe("plan --config configs/quickstart.yaml").output, HasSubstr("--config quickstart"));
  EXPECT_THAT(moe("plan --config other.yaml").output,
              AllOf(HasSubstr("no file of that name"), Not(HasSubstr("preset"))));
  fs::create_directory(folder_ / "quickstart");
  EXPECT_EQ(moe("plan --config quickstart").code, 0);  // a folder is no configuration
  fs::remove(folder_ / "quickstart");
  put("quickstart", "model:\n  d_model: 100\n  d_mdel: 3\n");  // a file comes first
  EXPECT_THAT(moe("plan --config quickstart").output, HasSubstr("quickstart:3:3: "));
}

TEST_F(Cli, ARunIsNamedAfterAllItsConfigurations) {
  put("smaller.yaml", kTinyConfig);
  const Result trained =
      moe("train --config quickstart --config smaller.yaml training.max_steps=1 data.source=text.txt "
          "data.document_split=file training.lr_schedule=cosine training.eval_every=0 training.threads=1 "
          "model.num_experts=4 ");
  ASSERT_EQ(trained.code, 0) << trained.output;
  EXPECT_THAT(trained.output, HasSubstr("runs/quickstart-smaller-"));
}

// Each overlay over each preset is a configuration: every setting known, none that contradicts another.
TEST_F(Cli, EachOverlayGoesOverEachPreset) {
  for (const auto& preset : fs::directory_iterator(test::source_dir() / "configs")) {
    if (!preset.path().filename().string().starts_with("moe_")) continue;
    for (const auto& overlay : fs::directory_iterator(test::source_dir() / "configs/overlays")) {
      const std::string names = " --config " + preset.path().stem().string() + " --config " +
                                overlay.path().stem().string() + " data.source=text.txt";
      const Result plan = moe("plan --gpu memory=100000" + names);
      EXPECT_EQ(plan.code, 0) << names << plan.output;
      EXPECT_THAT(plan.output, HasSubstr("verdict        fits")) << names;
    }
  }
}

TEST_F(Cli, OverlaysDoWhatTheySay) {
  complains(moe("train --config moe_10m --config own_text"), HasSubstr("data.source=FILE"));
  const std::string small =
      " --config config.yaml data.source=text.txt data.document_split=line training.run_name=run ";
  ASSERT_EQ(moe("train --config moe_10m --config own_text --config qwen3_moe" + small).code, 0);
  const Result exported = moe("export runs/run exported --family qwen3_moe --verify");
  EXPECT_EQ(exported.code, 0) << exported.output;
  ASSERT_EQ(moe("train --config moe_10m" + small + "training.run_name=gated").code, 0);
  EXPECT_EQ(moe("export runs/gated other --family qwen3_moe").code, 1);  // what the overlay is for
}

}  // namespace
}  // namespace moe
