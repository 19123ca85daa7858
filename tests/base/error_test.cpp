// SPDX-License-Identifier: MIT
#include "base/error.h"

#include <gmock/gmock.h>

namespace moe {
namespace {

TEST(UserError, ComposesOneSentence) {
  EXPECT_STREQ(UserError("a.yaml:1:2", "an integer", "\"x\"", "write 3").what(),
               "a.yaml:1:2: expected an integer, found \"x\". Hint: write 3");
}

TEST(UserError, LeavesOutEmptyParts) {
  EXPECT_STREQ(UserError("a.yaml", "", "cannot write").what(), "a.yaml: cannot write");
  EXPECT_STREQ(UserError("a.yaml", "an integer", "").what(), "a.yaml: expected an integer");
  EXPECT_STREQ(UserError("", "an integer", "nothing").what(), "expected an integer, found nothing");
}

TEST(UserError, StaysATextForATerminalWhateverGotIntoIt) {
  const UserError error("name\x1b[2J", std::string(1 << 20, 'x'), "\xff");
  EXPECT_EQ(error.where, "name\\x1b[2J");
  EXPECT_EQ(error.found, "\xEF\xBF\xBD");
  EXPECT_LT(std::string(error.what()).size(), 6000U);
}

TEST(Check, ThrowsWithFileConditionAndMessage) {
  EXPECT_NO_THROW(CHECK(1 + 1 == 2));
  EXPECT_THAT([] { CHECK(1 + 1 == 3, "sums"); },
              ::testing::ThrowsMessage<InternalError>(
                  ::testing::AllOf(::testing::HasSubstr("error_test.cpp:"),
                                   ::testing::HasSubstr("internal error: 1 + 1 == 3: sums"))));
}

}  // namespace
}  // namespace moe
