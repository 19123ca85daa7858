// SPDX-License-Identifier: MIT
// The first command of a newcomer: no file, no clone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/cli.h"

namespace moe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST_F(Cli, QuickstartNeedsNoFile) {
  const CommandResult trained =
      moe("train --quickstart data.source=text.txt data.document_split=file training.max_steps=2 "
          "training.eval_every=0 training.sample_every=0 training.threads=1");
  ASSERT_EQ(trained.code, 0) << trained.output;
  EXPECT_THAT(trained.output, AllOf(HasSubstr("GPT-2's first 4096 ids"), HasSubstr("runs/quickstart-")));
  const CommandResult smaller =
      moe("train --quickstart model.n_layers=1 data.source=text.txt data.document_split=file "
          "training.max_steps=1 training.run_name=one training.threads=1 "
          "training.eval_every=0 training.sample_every=0");
  ASSERT_EQ(smaller.code, 0) << smaller.output;
  EXPECT_EQ(moe("train --resume runs/one training.max_steps=2").code, 0);
}

TEST_F(Cli, QuickstartSaysWhichPackageHasItsText) {
  const CommandResult missing = moe("train --quickstart data.source=nowhere/gcide.dict.dz");
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.output, AllOf(HasSubstr("nowhere/gcide.dict.dz"), HasSubstr("dict-gcide"),
                                    HasSubstr("data.source=my_texts/")));
}

TEST_F(Cli, AWrongOptionIsNamedAndNotTheWordBehindIt) {
  EXPECT_THAT(moe("train --confg moe_10m").output,
              AllOf(HasSubstr("\"--confg\""), HasSubstr("mean --config?")));
  EXPECT_THAT(moe("train --quickstrat").output, HasSubstr("did you mean --quickstart?"));
  EXPECT_THAT(moe("train --rendezvou=here").output, HasSubstr("did you mean --rendezvous?"));
  EXPECT_THAT(moe("generate runs/none -p hello").output, AllOf(HasSubstr("\"-p\""), HasSubstr("--help")));
  EXPECT_EQ(moe("train --confg moe_10m").code, 1);
}

TEST_F(Cli, DoctorTakesAPreset) {
  EXPECT_THAT(moe("doctor --config moe_10m training.device=cpu").output, HasSubstr("configuration"));
}

TEST_F(Cli, ANewRunNeedsSettings) {
  const CommandResult neither = moe("train");
  EXPECT_EQ(neither.code, 1);
  EXPECT_THAT(neither.output,
              AllOf(HasSubstr("--quickstart"), HasSubstr("--resume RUN"), HasSubstr("neither")));
  EXPECT_THAT(moe("train --quickstart --resume runs/latest").output, HasSubstr("both"));
}

}  // namespace
}  // namespace moe
