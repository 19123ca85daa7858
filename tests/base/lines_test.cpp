// SPDX-License-Identifier: MIT
#include "base/lines.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace moe {
namespace {

using Strings = std::vector<std::string>;

Strings all_lines(std::string_view text) {
  Strings lines;
  while (!text.empty()) lines.emplace_back(take_line(text));
  return lines;
}

TEST(Lines, AreWhatNewlinesEnd) {
  EXPECT_EQ(all_lines(""), Strings{});
  EXPECT_EQ(all_lines("a"), Strings{"a"});
  EXPECT_EQ(all_lines("a\n"), Strings{"a"});
  EXPECT_EQ(all_lines("a\nb"), (Strings{"a", "b"}));
  EXPECT_EQ(all_lines("\n\nb\r\n"), (Strings{"", "", "b\r"}));
}

}  // namespace
}  // namespace moe
