// SPDX-License-Identifier: MIT
#include "base/config_file.h"

#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/errors.h"

namespace moe {
namespace {

using test::user_error_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

enum class Kind : uint8_t { cosine, no };
constexpr auto choices_of(Kind) {
  return choices<Kind>({{Kind::cosine, "cosine"}, {Kind::no, "no"}});
}

struct Demo {
  int64_t width = 8;
  double rate = 6e-4;
  bool mask = true;
  Kind kind = Kind::cosine;
  std::string label;
  std::vector<std::string> source;
  int64_t seed = 1;

  std::vector<Section> sections() {
    std::vector<Section> list(2);
    list[0].name = "model";
    list[0].fields.add("width", width, "of the stream").at_least(1).formerly({"breadth"});
    list[0].fields.add("mask", mask, "documents apart");
    list[1].name = "training";
    list[1].fields.add("rate", rate, "step size").range(0, 1);
    list[1].fields.add("kind", kind, "of schedule");
    list[1].fields.add("label", label, "free text");
    list[1].fields.add("source", source, "files");
    list[1].fields.add("seed", seed, "of the data");
    return list;
  }
};

std::string read(Demo& demo, const std::string& text) {
  auto sections = demo.sections();
  return user_error_of([&] { read_config_text(text, "a.yaml", sections); });
}

std::string error(const std::string& text) {
  Demo demo;
  return read(demo, text);
}

std::string override_error(const std::string& assignment) {
  Demo demo;
  auto sections = demo.sections();
  return user_error_of([&] { apply_override(assignment, sections); });
}

TEST(ReadConfig, ReadsEveryType) {
  Demo demo;
  EXPECT_EQ(
      read(demo,
           "model: {width: 16, mask: false}\n"
           "training:\n  rate: 1e-3  # a comment\n  kind: no\n  label: 'a: b'\n  source:\n  - x\n  - y z\n"),
      "");
  EXPECT_EQ(demo.width, 16);
  EXPECT_FALSE(demo.mask);
  EXPECT_EQ(demo.rate, 1e-3);
  EXPECT_EQ(demo.kind, Kind::no);
  EXPECT_EQ(demo.label, "a: b");
  EXPECT_THAT(demo.source, ElementsAre("x", "y z"));
  EXPECT_EQ(demo.seed, 1) << "not named: unchanged";
}

TEST(ReadConfig, AcceptsNothingAndAnchors) {
  for (const char* text : {"", "\n\n", "# only a comment\n", "---\n", "model:\n", "{}", "model: {}"})
    EXPECT_EQ(error(text), "") << text;
  Demo demo;
  EXPECT_EQ(read(demo, "model: {width: &n 32}\ntraining: {seed: *n, source: alone}"), "");
  EXPECT_EQ(demo.seed, 32);
  EXPECT_THAT(demo.source, ElementsAre("alone"));
}

TEST(ReadConfig, NamesThePlaceOfAWrongValue) {
  EXPECT_EQ(error("model:\n  width: fast\n"),
            "a.yaml:2:10: model.width: expected an integer of at least 1, found \"fast\"");
  EXPECT_EQ(error("model:\n  width: 0\n"),
            "a.yaml:2:10: model.width: expected an integer of at least 1, found 0");
  EXPECT_EQ(error("model: {width: [1]}"),
            "a.yaml:1:16: model.width: expected an integer of at least 1, found a list");
  EXPECT_EQ(error("model: {width: [[1]]}"),
            "a.yaml:1:16: model.width: expected an integer of at least 1, found a list");
  EXPECT_EQ(error("model: {mask: {a: b}}"),
            "a.yaml:1:15: model.mask: expected true or false, found a mapping");
  EXPECT_EQ(
      error("training:\n  kind: cosin"),
      "a.yaml:2:9: training.kind: expected one of: cosine, no, found cosin. Hint: did you mean cosine?");
  EXPECT_EQ(error("training:\n  source: [a, [b]]"),
            "a.yaml:2:15: training.source: expected a text, found a list");
  EXPECT_EQ(error("training:\n  source: {a: b}"),
            "a.yaml:2:11: training.source: expected a list of texts, found a mapping");
  EXPECT_EQ(error("training:\n  rate:\n"),
            "a.yaml:2:3: training.rate: expected a number between 0 and 1, found nothing");
  EXPECT_EQ(error("training:\n  label: ~\n"),
            "a.yaml:2:3: training.label: expected a text, found nothing. Hint: write \"\" for an empty text");
}

TEST(ReadConfig, NamesTheNearestSetting) {
  EXPECT_EQ(
      error("model:\n  widht: 3"),
      "a.yaml:2:3: expected a setting of section model, found \"widht\". Hint: did you mean model.width?");
  EXPECT_EQ(error("model:\n  seed: 3"),
            "a.yaml:2:3: expected a setting of section model, found \"seed\". Hint: seed belongs to section "
            "training");
  EXPECT_EQ(
      error("model:\n  sed: 3"),
      "a.yaml:2:3: expected a setting of section model, found \"sed\". Hint: did you mean training.seed?");
  EXPECT_EQ(error("model:\n  momentum: 3"),
            "a.yaml:2:3: expected a setting of section model, found \"momentum\". Hint: section model has "
            "width, mask");
  EXPECT_EQ(
      error("trainning:\n  rate: 1"),
      "a.yaml:1:1: expected a section (model, training), found \"trainning\". Hint: did you mean training?");
  EXPECT_EQ(error("rate: 1"),
            "a.yaml:1:1: expected a section (model, training), found \"rate\". Hint: rate belongs to section "
            "training");
  EXPECT_EQ(error("zzzzzzzz: 1"), "a.yaml:1:1: expected a section (model, training), found \"zzzzzzzz\"");
}

TEST(ReadConfig, PrefersTheNearestNameOfAllSections) {
  int64_t lapel = 1, label = 1;
  std::vector<Section> sections(3);
  sections[0].name = "model";
  sections[1].name = "training";
  sections[1].fields.add("lapel", lapel, "");
  sections[2].name = "data";
  sections[2].fields.add("label", label, "");
  EXPECT_THAT(user_error_of([&] { read_config_text("model: {labell: 1}", "a.yaml", sections); }),
              HasSubstr("did you mean data.label?"));
  EXPECT_THAT(user_error_of([&] { read_config_text("model: {lapell: 1}", "a.yaml", sections); }),
              HasSubstr("did you mean training.lapel?"));
}

TEST(ReadConfig, RefusesDuplicatesAndOtherShapes) {
  EXPECT_EQ(error("model:\n  width: 3\n  width: 4"),
            "a.yaml:3:3: expected each setting once, found model.width a second time");
  EXPECT_EQ(error("model:\n  width: 3\n  breadth: 4"),  // a former name is the same setting
            "a.yaml:3:3: expected each setting once, found model.width a second time");
  EXPECT_EQ(error("model:\n  width: 3\nmodel: {}"),
            "a.yaml:3:1: expected each section once, found model a second time");
  EXPECT_EQ(error("- a\n- b"), "a.yaml:1:1: expected sections (model, training), found a list");
  EXPECT_EQ(error("hello"), "a.yaml:1:1: expected sections (model, training), found \"hello\"");
  EXPECT_EQ(error("model: 3"),
            "a.yaml:1:8: expected settings of section model as \"name: value\", found \"3\"");
  EXPECT_EQ(error("? [a]\n: b"), "a.yaml:1:3: expected a name before the colon, found a list");
  EXPECT_EQ(error("model: {width: 3}\n---\nmodel: {}\n"),
            "a.yaml:2:1: expected one YAML document, found more after its end. "
            "Hint: look for a stray comma, bracket or --- there");
  EXPECT_THAT(error("{\"model\": {}}, {}"), HasSubstr("a.yaml:1:14: expected one YAML document"));
  EXPECT_THAT(error(","), HasSubstr("a.yaml:1:1: expected one YAML document"));
}

TEST(ReadConfig, RefusesWhatIsNotYaml) {
  EXPECT_THAT(error("model:\n\twidth: 3\n"), HasSubstr("a.yaml:2:"));
  EXPECT_THAT(error("model: {width: 3"), HasSubstr("expected YAML, found "));
  EXPECT_THAT(error("model: *nobody"), HasSubstr("a.yaml:1:8: expected YAML"));
  EXPECT_THAT(error(std::string(100'000, '[')), HasSubstr("expected YAML"));
  EXPECT_NE(error("\x89PNG\r\n\x1a\n"), "");
}

TEST(ReadConfig, NamesTheFileThatCannotBeRead) {
  Demo demo;
  auto sections = demo.sections();
  EXPECT_EQ(user_error_of([&] { read_config("/no/such.yaml", sections); }),
            "/no/such.yaml: expected a readable file, found no file of that name");
  const std::string folder = ::testing::TempDir();
  EXPECT_EQ(user_error_of([&] { read_config(folder, sections); }),
            folder + ": expected a readable file, found a folder");
}

TEST(ApplyOverride, SetsEveryType) {
  Demo demo;
  auto sections = demo.sections();
  for (const char* assignment : {"training.rate=1e-3", "model.mask=false", "model.width=2",
                                 "training.label=a: [b = c", "training.source=[x, 'y, z']"})
    apply_override(assignment, sections);
  EXPECT_EQ(demo.rate, 1e-3);
  EXPECT_FALSE(demo.mask);
  EXPECT_EQ(demo.width, 2);
  EXPECT_EQ(demo.label, "a: [b = c") << "text is taken as it stands";
  EXPECT_THAT(demo.source, ElementsAre("x", "y, z"));
  apply_override("training.source=one, file", sections);
  EXPECT_THAT(demo.source, ElementsAre("one, file"));
  apply_override("training.label=", sections);
  EXPECT_EQ(demo.label, "");
}

TEST(ApplyOverride, NamesTheCommandLine) {
  EXPECT_EQ(override_error("training.rate=fast"),
            "command line: training.rate: expected a number between 0 and 1, found \"fast\"");
  EXPECT_EQ(override_error("training.rte=1"),
            "command line: expected a setting of section training, found \"rte\". Hint: did you mean "
            "training.rate?");
  EXPECT_EQ(
      override_error("trainin.rate=1"),
      "command line: expected a section (model, training), found \"trainin\". Hint: did you mean training?");
  EXPECT_EQ(
      override_error("rate=1"),
      "command line: expected section.key=value, found \"rate=1\". Hint: rate belongs to section training");
  EXPECT_EQ(override_error("training.rate"),
            "command line: expected section.key=value, found \"training.rate\"");
  EXPECT_EQ(override_error("training.source=[a, [b]]"),
            "command line:1:5: training.source: expected a text, found a list");
  EXPECT_EQ(override_error("="), "command line: expected section.key=value, found \"=\"");
  EXPECT_NE(override_error("training.source=[a"), "");
}

TEST(PrintConfig, ShowsValuesAndHelp) {
  Demo demo;
  demo.source = {"a b", "c"};
  EXPECT_EQ(print_config(demo.sections()),
            "model:\n"
            "  width: 8                                # of the stream\n"
            "  mask: true                              # documents apart\n"
            "\n"
            "training:\n"
            "  rate: 0.0006                            # step size\n"
            "  kind: cosine                            # of schedule (cosine | no)\n"
            "  label: \"\"                               # free text\n"
            "  source: [\"a b\", c]                      # files\n"
            "  seed: 1                                 # of the data\n");
}

TEST(PrintConfig, ReadsBackToTheSameSettings) {
  Demo demo;
  demo.rate = 1.0 / 3;
  demo.kind = Kind::no;
  demo.source = {
      "", "null", "- x", "a # b", "\xc3\xa9\t\"'\\ \xf0\x9f\x98\x80", "-1", "\x7f\xc2\x85\xe2\x80\xa8"};
  demo.label = "line one\nline two\n";
  for (const auto& text : {print_config(demo.sections()), print_config_json(demo.sections())}) {
    Demo back;
    EXPECT_EQ(read(back, text), "") << text;
    EXPECT_THAT(config_differences(demo.sections(), back.sections()), ElementsAre()) << text;
  }
}

TEST(PrintConfig, JsonHoldsTypedValues) {
  Demo demo;
  demo.source = {"a"};
  const auto json = nlohmann::json::parse(print_config_json(demo.sections()));
  EXPECT_EQ(json["model"]["width"], 8);
  EXPECT_EQ(json["model"]["mask"], true);
  EXPECT_EQ(json["training"]["rate"], 6e-4);
  EXPECT_EQ(json["training"]["source"], nlohmann::json::array({"a"}));
}

TEST(PrintConfigHelp, ShowsDefaultTypeAndHelp) {
  Demo demo;
  auto sections = demo.sections();
  apply_override("model.width=77", sections);
  EXPECT_THAT(print_config_help(sections),
              HasSubstr("model.width = 8  (an integer of at least 1)\n    of the stream\n"));
  EXPECT_THAT(print_config_help(sections), HasSubstr("training.kind = cosine  (one of: cosine, no)\n"));
}

TEST(ConfigDifferences, NamesWhatDiffers) {
  Demo one, other;
  EXPECT_THAT(config_differences(one.sections(), other.sections()), ElementsAre());
  other.width = 9;
  other.source = {"x"};
  EXPECT_THAT(config_differences(one.sections(), other.sections()),
              ElementsAre("model.width: 8, other 9", "training.source: [], other [x]"));
}

}  // namespace
}  // namespace moe
