// SPDX-License-Identifier: MIT
#include "base/fields.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "support/errors.h"

namespace moe {
namespace {

using test::user_error_of;

// Sets a lone field from text and gives the complaint, "" when it was taken.
template <class T, class Limit>
std::string set(T& value, std::string_view text, Limit&& limit) {
  Fields fields;
  Field& field = fields.add("it", value, "help");
  limit(field);
  return user_error_of([&] { field.set(text, "here"); });
}

template <class T>
std::string set(T& value, std::string_view text) {
  return set(value, text, [](Field&) {});
}

TEST(Field, TakesPlainIntegersOnly) {
  int64_t x = 5;
  EXPECT_EQ(set(x, "-12"), "");
  EXPECT_EQ(x, -12);
  EXPECT_EQ(set(x, "9223372036854775807"), "");
  EXPECT_EQ(x, std::numeric_limits<int64_t>::max());
  EXPECT_EQ(set(x, "1_000"), "here: expected an integer, found \"1_000\". Hint: write 1000");
  EXPECT_EQ(set(x, "1e3"), "here: expected an integer, found \"1e3\". Hint: write 1000");
  EXPECT_EQ(set(x, "1.5"), "here: expected an integer, found \"1.5\"");
  EXPECT_EQ(set(x, "9223372036854775808"), "here: expected an integer, found \"9223372036854775808\"");
  EXPECT_EQ(set(x, "0x10"), "here: expected an integer, found \"0x10\"");
  EXPECT_EQ(set(x, ""), "here: expected an integer, found nothing");
  EXPECT_EQ(x, std::numeric_limits<int64_t>::max()) << "a refused value must change nothing";
}

TEST(Field, ZeroMayHaveAWord) {
  int64_t x = 5;
  const auto limit = [](Field& field) { field.range(1, 9).zero_is("auto"); };
  EXPECT_EQ(set(x, "auto", limit), "");
  EXPECT_EQ(x, 0);
  Fields fields;
  Field& field = fields.add("it", x, "help").range(1, 9).zero_is("auto");
  EXPECT_EQ(to_yaml(field.value()), "auto");
  EXPECT_EQ(to_yaml(field.initial()), "auto");
  field.check("here");
  EXPECT_EQ(set(x, "0", limit), "here: expected an integer between 1 and 9, or auto, found 0");
  EXPECT_EQ(set(x, "Auto", limit), "here: expected an integer between 1 and 9, or auto, found \"Auto\"");
  EXPECT_EQ(set(x, "7", limit), "");
  EXPECT_EQ(to_yaml(field.value()), "7");
}

TEST(Field, TakesFiniteNumbers) {
  double x = 0;
  EXPECT_EQ(set(x, "6e-4"), "");
  EXPECT_EQ(x, 6e-4);
  EXPECT_EQ(set(x, "3"), "");
  EXPECT_EQ(x, 3.0);
  EXPECT_EQ(set(x, "nan"), "here: expected a number, found nan");
  EXPECT_EQ(set(x, "-inf"), "here: expected a number, found -inf");
  EXPECT_EQ(set(x, "1e999"), "here: expected a number, found \"1e999\"");
  EXPECT_EQ(set(x, "fast"), "here: expected a number, found \"fast\"");
}

TEST(Field, TakesTrueAndFalse) {
  bool x = false;
  EXPECT_EQ(set(x, "true"), "");
  EXPECT_TRUE(x);
  EXPECT_EQ(set(x, "yes"), "here: expected true or false, found \"yes\"");
  EXPECT_EQ(set(x, "1"), "here: expected true or false, found \"1\"");
}

TEST(Field, TakesTextAndLists) {
  std::string text = "old";
  EXPECT_EQ(set(text, ""), "");
  EXPECT_EQ(text, "");
  EXPECT_EQ(set(text, "\xff"), "here: expected a text, found \"\xEF\xBF\xBD\"");
  EXPECT_NE(set(text, "\xc3\xc3"), "");
  EXPECT_NE(set(text, "\xe2\x82"), "");
  EXPECT_EQ(set(text, std::string_view("a\0b", 3)), "here: expected a text, found \"a\\x00b\"");
  std::vector<std::string> list{"a", "b"};
  EXPECT_EQ(set(list, "one"), "");
  EXPECT_THAT(list, ::testing::ElementsAre("one"));
  EXPECT_EQ(user_error_of([&] {
              Fields fields;
              fields.add("it", text, "help").set_list({"a"}, "here");
            }),
            "here: expected a text, found a list");
}

TEST(Field, LimitsAreCheckedAndNamed) {
  int64_t n = 1;
  const auto between = [](Field& field) { field.range(1, 8); };
  EXPECT_EQ(set(n, "1", between), "");
  EXPECT_EQ(set(n, "8", between), "");
  EXPECT_EQ(set(n, "9", between), "here: expected an integer between 1 and 8, found 9");
  EXPECT_EQ(set(n, "0", between), "here: expected an integer between 1 and 8, found 0");
  EXPECT_EQ(set(n, "0", [](Field& field) { field.at_least(1); }),
            "here: expected an integer of at least 1, found 0");
  double x = 1;
  const auto above = [](Field& field) { field.more_than(0); };
  EXPECT_EQ(set(x, "1e-300", above), "");
  EXPECT_EQ(set(x, "0", above), "here: expected a number more than 0, found 0.0");
  const auto half_open = [](Field& field) { field.at_least(0).less_than(1); };
  EXPECT_EQ(set(x, "0", half_open), "");
  EXPECT_EQ(set(x, "1", half_open), "here: expected a number of at least 0 and less than 1, found 1.0");
}

TEST(Field, LimitsAreThoseOfTheRoundedNumberWhereArithmeticIsInF32) {
  double x = 0.5;
  const auto below_one = [](Field& field) { field.at_least(0).less_than(1).in_f32(); };
  EXPECT_EQ(set(x, "0.9999999", below_one), "");
  EXPECT_EQ(set(x, "0", below_one), "");
  EXPECT_EQ(set(x, "0.99999999", below_one),
            "here: expected a number of at least 0 and less than 1, found 0.99999999, which is 1 in f32");
  EXPECT_EQ(set(x, "1", below_one), "here: expected a number of at least 0 and less than 1, found 1.0");
  const auto above = [](Field& field) { field.more_than(0).in_f32(); };
  EXPECT_EQ(set(x, "1.2e-38", above), "");
  EXPECT_EQ(set(x, "1e-50", above), "here: expected a number more than 0, found 1.0e-50, which is 0 in f32");
  EXPECT_EQ(set(x, "1e-40", above),
            "here: expected a number more than 0, found 1.0e-40, which is subnormal in f32");
  EXPECT_EQ(set(x, "1e39", above), "here: expected a number more than 0, found 1.0e+39, which is inf in f32");
  EXPECT_EQ(set(x, "0", above), "here: expected a number more than 0, found 0.0");
}

enum class Curve : uint8_t { wsd, constant, cosine };
constexpr auto choices_of(Curve) {
  return choices<Curve>(
      {{Curve::cosine, "cosine"}, {Curve::wsd, "wsd", "stable"}, {Curve::constant, "constant"}});
}

TEST(Field, ChoicesAreCheckedAndNamed) {
  Curve curve = Curve::cosine;
  EXPECT_EQ(set(curve, "wsd"), "");
  EXPECT_EQ(set(curve, "cosin"),
            "here: expected one of: cosine, wsd, constant, found cosin. Hint: did you mean cosine?");
  EXPECT_EQ(set(curve, "no"), "here: expected one of: cosine, wsd, constant, found \"no\"");
  EXPECT_EQ(set(curve, ""), "here: expected one of: cosine, wsd, constant, found \"\"");
  EXPECT_EQ(curve, Curve::wsd) << "a refused value must change nothing";
}

TEST(Field, AnEnumerationIsReadWrittenAndListedByName) {
  Curve curve = Curve::constant;
  Fields fields;
  Field& field = fields.add("curve", curve, "help");
  EXPECT_EQ(to_yaml(field.initial()), "constant");
  EXPECT_EQ(field.expected(), "one of: cosine, wsd, constant");
  EXPECT_THAT(field.allowed(), ::testing::ElementsAre("cosine", "wsd", "constant"));
  for (const auto& [value, name, former] : choices_of(curve)) {
    field.set(name, "here");
    EXPECT_EQ(curve, value);
    EXPECT_EQ(to_yaml(field.value()), name);
    EXPECT_EQ(value_named<Curve>(name), value);
    EXPECT_EQ(name_of(value), name);
  }
  field.set("stable", "here");
  EXPECT_EQ(curve, Curve::wsd) << "a name of earlier versions";
  EXPECT_EQ(to_yaml(field.value()), "wsd");
  EXPECT_EQ(value_named<Curve>("stable"), std::nullopt);
  field.choice_known_as({{"flat", "constant"}});
  EXPECT_EQ(user_error_of([&] { field.set("flat", "here"); }),
            "here: expected one of: cosine, wsd, constant, found flat. Hint: did you mean constant?");
}

TEST(Field, RemembersTheValueItWasDeclaredWith) {
  int64_t x = 5;
  Fields fields;
  Field& field = fields.add("x", x, "");
  field.set("7", "here");
  EXPECT_EQ(std::get<int64_t>(field.initial()), 5);
  EXPECT_EQ(std::get<int64_t>(field.value()), 7);
}

TEST(Fields, CheckFindsAValueSetByCode) {
  double x = 0.5;
  Fields fields;
  fields.add("x", x, "").range(0, 1);
  EXPECT_NO_THROW(fields.check("part"));
  x = std::nan("");  // NOLINT(clang-analyzer-deadcode.DeadStores): the field has its address
  EXPECT_EQ(user_error_of([&] { fields.check("part"); }),
            "part.x: expected a number between 0 and 1, found nan");
}

TEST(ToYaml, NumbersReadBackToTheSameBits) {
  for (const double x : {6e-4, 1.0 / 3, 1e-8, 1e300, 10000.0, 0.0, -2.5, 5e-324, 123456789012345678.0}) {
    double back = -1;
    EXPECT_EQ(set(back, to_yaml(Field::Value(x))), "");
    EXPECT_EQ(back, x);
  }
  EXPECT_EQ(to_yaml(10000.0), "10000.0");
  EXPECT_EQ(to_yaml(1e-5), "1.0e-05");  // YAML 1.1 reads 1e-05 as a text
  EXPECT_EQ(to_yaml(6e-4), "0.0006");
}

TEST(ToYaml, QuotesTextThatYamlWouldReadAsSomethingElse) {
  const auto text = [](const char* value) { return to_yaml(Field::Value(std::string(value))); };
  EXPECT_EQ(text("cosine"), "cosine");
  EXPECT_EQ(text("/data/a-b_c.txt"), "/data/a-b_c.txt");
  for (const char* word : {"no", "NULL", "True", "", "1e3", "a: b", "#", "~", "a,b", " a", "-"})
    EXPECT_EQ(text(word), fmt::format("\"{}\"", word));
  EXPECT_EQ(text("a\"\\\n"), "\"a\\\"\\\\\\x0a\"");
  EXPECT_EQ(to_yaml(Field::List{"a", "b c"}), "[a, \"b c\"]");
  EXPECT_EQ(to_yaml(Field::List{}), "[]");
}

}  // namespace
}  // namespace moe
