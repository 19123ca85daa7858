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
  EXPECT_EQ(moe("plan --config quickstart --config config.yaml").code, 0);
  const Result unknown = moe("plan --config quickstrt");
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.output, AllOf(HasSubstr("--config: expected a file, or a preset (quickstart"),
                                    HasSubstr("did you mean quickstart?")));
  // Where the repository is not, its paths lead nowhere; the program has what stands there.
  EXPECT_THAT(moe("plan --config configs/quickstart.yaml").output, HasSubstr("--config quickstart"));
  EXPECT_THAT(moe("plan --config other.yaml").output,
              AllOf(HasSubstr("no file of that name"), Not(HasSubstr("preset"))));
  put("quickstart", "model:\n  d_model: 100\n  d_mdel: 3\n");  // a file comes first
  EXPECT_THAT(moe("plan --config quickstart").output, HasSubstr("quickstart:3:3: "));
}

TEST_F(Cli, ARunIsNamedAfterAllItsConfigurations) {
  put("smaller.yaml", kTinyConfig);
  const Result trained =
      moe("train --config quickstart --config smaller.yaml training.max_steps=1 data.source=text.txt "
          "data.document_split=file training.eval_every=0 training.threads=1 model.num_experts=4 ");
  ASSERT_EQ(trained.code, 0) << trained.output;
  EXPECT_THAT(trained.output, HasSubstr("runs/quickstart-smaller-"));
}

}  // namespace
}  // namespace moe
