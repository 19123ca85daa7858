// SPDX-License-Identifier: MIT
// Values are held against nlohmann's own parser; limits, names that come twice, and messages against golden
// strings.
#include "base/json.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/excerpt.h"
#include "support/errors.h"

namespace moe::test {
namespace {

std::string repeated(const std::string& text, int count) {
  std::string result;
  for (int i = 0; i < count; ++i) result += text;
  return result;
}

TEST(Json, IsWhatNlohmannReads) {
  for (const char* text :
       {"null", "true", "-3", "18446744073709551615", "1.5e3", R"("a\u00e9\n")", "[]", "{}", "[1,[2,{}],3]",
        "\xEF\xBB\xBF[1]", R"({"b":[1,{"x":null}],"a":{"b":{"c":[[]]}},"":0})", R"([{"a":1},{"a":2}])"}) {
    EXPECT_EQ(parse_json("f", text), nlohmann::json::parse(text)) << text;
    EXPECT_EQ(parse_ordered_json("f", text).dump(), nlohmann::ordered_json::parse(text).dump()) << text;
  }
}

TEST(Json, WhatIsNoneIsRefusedWithItsPlace) {
  EXPECT_EQ(user_error_of([] { parse_json("f.json", "{\"a\": }"); }),
            "f.json: expected JSON, found parse error at line 1, column 7: syntax error while parsing value "
            "- unexpected '}'; "
            "expected '[', '{', or a literal");
  for (const char* text :
       {"", " ", "{", "[1,]", "nul", "\"\xff\"", "1 2", "{\"a\":1,}", "\"\n\"", "1e999", "NaN"}) {
    EXPECT_FALSE(try_parse_json(text)) << text;
    EXPECT_FALSE(try_parse_ordered_json(text)) << text;
    EXPECT_NE(user_error_of([&] { parse_json("f", text); }), "") << text;
  }
}

TEST(Json, ANameTwiceInOneObjectIsRefused) {
  const char* text = R"({"a":{"x":1},"b":{"x":1,"y":2,"x":3}})";
  EXPECT_EQ(user_error_of([&] { parse_json("f", text); }),
            "f: expected JSON, found \"x\" twice in one object");
  EXPECT_EQ(user_error_of([&] { parse_ordered_json("f", text); }),
            "f: expected JSON, found \"x\" twice in one object");
}

TEST(Json, TheElementsOfAGivenListAreNotKept) {
  const std::string text =
      R"({"a": {"list": [1]}, "list": [{"b": [2, {"list": [3]}]}, "x", [], 4.5, null], "c": [5]})";
  std::vector<Json> elements;
  const auto take = [&](size_t index, const Json& element) {
    EXPECT_EQ(index, elements.size());
    elements.push_back(element);
  };
  EXPECT_EQ(parse_json_list("f", text, "list", take),
            Json::parse(R"({"a": {"list": [1]}, "list": [], "c": [5]})"));
  EXPECT_EQ(Json(elements), Json::parse(R"([{"b": [2, {"list": [3]}]}, "x", [], 4.5, null])"));
  elements.clear();
  EXPECT_EQ(parse_json_list("f", R"({"list": {"d": [6]}})", "list", take).at("list").at("d").size(), 1U);
  EXPECT_EQ(parse_json_list("f", R"([[{"list": [7]}]])", "list", take)[0][0].at("list").size(), 1U);
  EXPECT_TRUE(elements.empty());
  EXPECT_THAT(user_error_of([&] { parse_json_list("f", R"({"list": [8, 9)", "list", take); }),
              testing::StartsWith("f: expected JSON, found "));
}

TEST(Json, DepthIsLimited) {
  const std::string deep = repeated("[", 64) + repeated("]", 64), deeper = "[" + deep + "]";
  EXPECT_TRUE(try_parse_json(deep));
  EXPECT_TRUE(try_parse_ordered_json(deep));
  EXPECT_FALSE(try_parse_ordered_json(deeper));
  EXPECT_EQ(user_error_of([&] { parse_json("f", deeper); }),
            "f: expected JSON, found more than 64 objects and lists inside one another");
  EXPECT_FALSE(try_parse_json(repeated("[", 1 << 20)));
  EXPECT_TRUE(try_parse_json("[" + repeated("[1],", 1000) + "0]"));  // beside one another is not inside
}

TEST(Json, SizeIsLimited) {
  EXPECT_TRUE(try_parse_json("[1,2]", {.bytes = 5}));
  EXPECT_EQ(user_error_of([] { parse_json("f", "[1,2]", "", {.bytes = 4}); }),
            "f: expected JSON, found 5 bytes, more than 4");
}

// nlohmann's builders walk all siblings for each member here: minutes.
TEST(Json, TimeIsLinearInTheNamesOfAnObject) {
  std::string text = "{";
  for (int i = 0; i < 300'000; ++i) text += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":{}";
  text += "}";
  EXPECT_EQ(parse_json("f", text).size(), 300'000U);
  EXPECT_EQ(parse_ordered_json("f", text).size(), 300'000U);
}

TEST(Json, MessagesCutWhatTheyQuote) {
  const std::string megabyte(1 << 20, 'x');
  for (const std::string& text : {"\"" + megabyte, fmt::format("[1{}e9999]", repeated("0", 1 << 20)),
                                  fmt::format(R"({{"{0}":1,"{0}":2}})", megabyte)})
    EXPECT_LT(user_error_of([&] { parse_json("f", text); }).size(), 400U);
  EXPECT_EQ(quote(Json(megabyte)), "\"" + std::string(119, 'x') + "...");
  EXPECT_EQ(quote(Json{{"a", "\xC3\xA9\x1b"}}), R"({"a":"\u00e9\u001b"})");
}

TEST(JsonFields, NameTheFieldOfEachMistake) {
  const Json json = parse_json(
      "f", R"({"text":"t","n":3,"big":18446744073709551615,"half":0.5,"yes":true,"no":null,"list":[1],
                                        "in":{"n":-1}})");
  const JsonFields fields("f", json, "copy it again");
  EXPECT_EQ(fields.text("text"), "t");
  EXPECT_EQ(fields.whole("n"), 3);
  EXPECT_EQ(fields.number("half"), 0.5);
  EXPECT_TRUE(fields.flag("yes"));
  EXPECT_EQ(fields.list("list").size(), 1U);
  EXPECT_EQ(fields.inside("in").whole("n", -1), -1);
  EXPECT_TRUE(fields.has("n"));
  EXPECT_FALSE(fields.has("no") || fields.has("other"));
  const auto refused = [](auto&& body) { return user_error_of(body); };
  EXPECT_EQ(refused([&] { fields.whole("other"); }),
            "f: field \"other\": expected a value, found none. Hint: copy it again");
  EXPECT_EQ(refused([&] { fields.text("n"); }),
            "f: field \"n\": expected text, found 3. Hint: copy it again");
  EXPECT_EQ(refused([&] { fields.whole("half"); }),
            "f: field \"half\": expected a whole number of at least 0, found 0.5. Hint: copy it again");
  EXPECT_EQ(refused([&] { fields.whole("yes"); }),
            "f: field \"yes\": expected a whole number of at least 0, found true. Hint: copy it again");
  EXPECT_EQ(refused([&] { fields.whole("big"); }),
            "f: field \"big\": expected a whole number of at least 0, found 18446744073709551615. Hint: copy "
            "it again");
  EXPECT_EQ(refused([&] { fields.whole("n", 4, 5); }),
            "f: field \"n\": expected a whole number from 4 to 5, found 3. Hint: copy it again");
  EXPECT_EQ(refused([&] { fields.inside("in").whole("n"); }),
            "f: in: field \"n\": expected a whole number of at least 0, found -1. Hint: copy it again");
  EXPECT_EQ(refused([&] { JsonFields("f", Json(3)); }), "f: expected a JSON object, found 3");
}

TEST(Excerpt, IsTextForATerminal) {
  EXPECT_EQ(excerpt("plain \xC3\xA9"), "plain \xC3\xA9");
  EXPECT_EQ(excerpt("\x1b[2J\n\x7f\xC2\x9B"), R"(\x1b[2J\x0a\x7f\x9b)");
  EXPECT_EQ(excerpt("a\nb\x1b", 9, "\n"), "a\nb\\x1b");
  EXPECT_EQ(excerpt("\xff!"), "\xEF\xBF\xBD!");
  EXPECT_EQ(excerpt("aaaa", 3), "aaa...");
  EXPECT_EQ(excerpt("aa\xC3\xA9z", 3), "aa...");  // never half a character
}

}  // namespace
}  // namespace moe::test
