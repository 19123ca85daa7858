// SPDX-License-Identifier: MIT
#include "data/filter.h"

#include <gmock/gmock.h>

#include <limits>

#include "data/support.h"

namespace moe::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Filter, ParsesNumbersAndText) {
  EXPECT_EQ(Filter::parse(" int_score>=3 ").text(), "int_score >= 3");
  EXPECT_EQ(Filter::parse("a.b == en us").text(), "a.b == \"en us\"");
  EXPECT_EQ(Filter::parse("a != \" x\"").text(), "a != \" x\"");
  EXPECT_EQ(Filter::parse("a == \"\"").column(), "a");
  EXPECT_EQ(to_text(parse_filters({"a < 1", "b == c"})), " where a < 1 and b == \"c\"");
  EXPECT_EQ(to_text({}), "");
}

TEST(Filter, RefusesWhatItDoesNotUnderstand) {
  for (const char* text : {"", "a", "a 3", "a = 3", ">= 3", "a >= x", "a <", "a == ", "a ! 3", "a >= \"3\"",
                           "a == b\"c", "a >= nan", "a < inf"})
    EXPECT_THAT(user_error_of([&] { Filter::parse(text); }),
                AllOf(HasSubstr("data.filters"), HasSubstr("COLUMN OPERATOR VALUE")))
        << text;
}

TEST(Filter, ComparesNumbersExactly) {
  const auto passes = [](const char* text, long double value) { return Filter::parse(text).passes(value); };
  EXPECT_TRUE(passes("a == 3", 3));
  EXPECT_FALSE(passes("a != 3", 3));
  EXPECT_TRUE(passes("a < 3", 2.5));
  EXPECT_FALSE(passes("a < 3", 3));
  EXPECT_TRUE(passes("a <= 3", 3));
  EXPECT_TRUE(passes("a > -1e3", -999));
  EXPECT_TRUE(passes("a >= .5", 0.5));
  const auto big = static_cast<long double>(std::numeric_limits<int64_t>::max());
  EXPECT_TRUE(passes("a == 9223372036854775807", big));
  EXPECT_FALSE(passes("a == 9223372036854775806", big));
  EXPECT_FALSE(passes("a != 3", std::numeric_limits<long double>::quiet_NaN()));
}

TEST(Filter, ComparesTextByteForByte) {
  EXPECT_TRUE(Filter::parse("a == en").passes(std::string_view("en")));
  EXPECT_FALSE(Filter::parse("a == en").passes(std::string_view("EN")));
  EXPECT_TRUE(Filter::parse("a != 3").passes(std::string_view("3.0")));
  EXPECT_FALSE(Filter::parse("a < 3").takes_text());
  EXPECT_FALSE(Filter::parse("a == en").takes_numbers());
}

}  // namespace
}  // namespace moe::data
