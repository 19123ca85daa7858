// SPDX-License-Identifier: MIT
// Names as Weights & Biases and TensorBoard show them: one declaration, which docs/metrics.md repeats.
#include "metrics/shown.h"

#include <gmock/gmock.h>

#include <regex>
#include <set>
#include <sstream>

#include "base/file.h"
#include "support/source_dir.h"

namespace moe::metrics {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Pair;

std::string documentation() {
  return read_file(test::source_dir() / "docs/metrics.md");
}

// Lines of the section that begin a row of a table: "| `name`".
std::vector<std::string> rows_of(const std::string& begin, const std::string& end) {
  const std::string text = documentation();
  const size_t from = text.find(begin), to = text.find(end, from);
  EXPECT_NE(from, std::string::npos) << begin;
  EXPECT_NE(to, std::string::npos) << end;
  std::istringstream lines(text.substr(from, to - from));
  std::vector<std::string> rows;
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("| `")) rows.push_back(line);
  return rows;
}

TEST(ShownNames, TheTableOfTheDocumentation) {
  std::vector<std::string> expected;
  for (const ShownMetric& metric : shown_metrics()) {
    const char* const best = metric.best == Best::lowest    ? "lowest"
                             : metric.best == Best::highest ? "highest"
                                                            : "";
    expected.push_back("| `" + std::string(metric.name) + "` | `" + std::string(metric.shown) + "` | " +
                       best + (*best == '\0' ? "|" : " |"));
  }
  EXPECT_EQ(rows_of("## Names in W&B and TensorBoard", "## Alerts"), expected);
}

TEST(ShownNames, EachDocumentedMetricHasASection) {
  const std::set<std::string> sections = {"train", "val", "router", "model", "perf", "data", "tasks", "fp8"};
  int64_t names = 0;
  for (const std::string& row : rows_of("## The record", "## Names in W&B and TensorBoard")) {
    const std::string cell = row.substr(0, row.find(" |", 2));
    const std::regex code("`([^`]+)`");
    for (std::sregex_iterator found(cell.begin(), cell.end(), code), end; found != end; ++found) {
      const std::string name = std::regex_replace((*found)[1].str(), std::regex("<[a-z]+>"), "x");
      if (name.starts_with("...")) continue;  // the end of a name
      const std::string shown = shown_name(name);
      EXPECT_TRUE(sections.contains(shown.substr(0, shown.find('/')))) << name << " is shown as " << shown;
      ++names;
    }
  }
  EXPECT_GT(names, 60);
}

TEST(ShownNames, NoTwoShareOne) {
  std::set<std::string_view> seen;
  for (const ShownMetric& metric : shown_metrics())
    EXPECT_TRUE(seen.insert(metric.shown).second) << metric.shown;
}

TEST(ShownNames, WhatStandsForTheRest) {
  EXPECT_EQ(shown_name("gradient_norm"), "train/gradient_norm");
  EXPECT_EQ(shown_name("gradient_norm/experts"), "train/gradient_norm/experts");
  EXPECT_EQ(shown_name("network_retries"), "data/network_retries");
  EXPECT_EQ(shown_name("layers/router_confidence"), "router/layers/confidence");
  EXPECT_EQ(shown_name("layers/z_loss"), "router/layers/z_loss");
  EXPECT_EQ(shown_name("of a plug-in"), "of a plug-in");
  EXPECT_EQ(best_of("val/loss"), Best::lowest);
  EXPECT_EQ(best_of("tasks/lambada/lm_eval/acc"), Best::highest);
  EXPECT_EQ(best_of("tasks/lambada/lm_eval/acc_stderr"), Best::none);
  EXPECT_EQ(best_of("loss"), Best::none) << "the record's name is no shown one";
}

class Keep final : public Sink {
 public:
  explicit Keep(std::vector<Row>& rows) : rows_(rows) {}
  void write(const Row& row) override { rows_.push_back(row); }

 private:
  std::vector<Row>& rows_;
};

TEST(ShownNames, LayersAreCountedFromTheFirstRouter) {
  std::vector<Row> rows;
  ShownNames sink(std::make_unique<Keep>(rows), 9);
  Row row{7, {}};
  row.add("loss", 2.0)
      .add("layers/entropy", std::vector<double>{0.5, 1})
      .add("layers/z_loss", std::vector<double>{3, 4});
  sink.write(row);
  sink.write(Row{7, {}}.add("alert", std::string("loss_spike")).add("alert_text", std::string("x")));
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].step, 7);
  EXPECT_THAT(rows[0].values,
              ElementsAre(Pair("train/loss", Row::Value(2.0)),
                          Pair("router/layers/entropy", Row::Value(std::vector<double>{0.5, 1})),
                          Pair("router/layers/z_loss", Row::Value(std::vector<double>{3, 4})),
                          Pair("router_layers/entropy/09", Row::Value(0.5)),
                          Pair("router_layers/entropy/10", Row::Value(1.0))));
  EXPECT_THAT(rows[1].values, Contains(Pair("alert", Row::Value(std::string("loss_spike")))));
}

}  // namespace
}  // namespace moe::metrics
