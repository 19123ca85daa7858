// SPDX-License-Identifier: MIT
// Rows of files that pyarrow wrote (tools/make_task_goldens.py), against what Python says of the same rows;
// and damaged ones.
#include "data/parquet_rows.h"

#include <gmock/gmock.h>

#include "data/support.h"

namespace moe::data {
namespace {

using testing::HasSubstr;

std::filesystem::path rows_file(const std::string& name) {
  return std::filesystem::path(MOE_SOURCE_DIR) / "tests/golden/tasks" / name;
}

std::vector<nlohmann::json> json_lines(const std::string& text) {
  std::istringstream lines(text);
  std::vector<nlohmann::json> rows;
  for (std::string line; std::getline(lines, line);) rows.push_back(nlohmann::json::parse(line));
  return rows;
}

class ParquetRows : public testing::TestWithParam<const char*> {};

TEST_P(ParquetRows, AreThoseOfTheJsonLines) {
  const std::string name = GetParam();
  const auto expected = json_lines(slurp(rows_file(name + ".jsonl")));
  std::vector<nlohmann::json> found;
  for (const std::string& line : parquet_rows(local_file(rows_file(name + ".parquet"))))
    found.push_back(nlohmann::json::parse(line));
  EXPECT_EQ(found, expected);
}

INSTANTIATE_TEST_SUITE_P(Files, ParquetRows,
                         testing::Values("shapes", "hellaswag", "arc_easy", "piqa", "lambada"));

TEST(ParquetRowsOf, OnlyTheFirstAreTakenWhenAsked) {
  const DataFilePtr file = local_file(rows_file("hellaswag.parquet"));  // row groups of 3
  const auto all = parquet_rows(file);
  ASSERT_EQ(all.size(), 7u);
  for (const size_t limit : {1u, 3u, 4u, 7u, 9u})
    EXPECT_EQ(
        parquet_rows(file, {}, static_cast<int64_t>(limit)),
        std::vector(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(limit, all.size()))));
}

TEST(ParquetRowsOf, OnlyTheColumnsNamedAreRead) {
  const DataFilePtr file = local_file(rows_file("piqa_with_image.parquet"));
  const auto rows = parquet_rows(file, {"goal", "label"});
  ASSERT_EQ(rows.size(), 6u);
  EXPECT_EQ(nlohmann::json::parse(rows[1]), nlohmann::json({{"goal", "dry it 1 times"}, {"label", 1}}));
  const auto shapes = parquet_rows(local_file(rows_file("shapes.parquet")), {"deep"});
  EXPECT_EQ(nlohmann::json::parse(shapes[0])["deep"]["inner"]["n"], 3);
  EXPECT_THAT(user_error_of([&] { parquet_rows(file, {"image_"}); }), HasSubstr("expected columns image_"));
  EXPECT_EQ(parquet_rows(file).size(), 6u);  // its bytes as U+FFFD
}

TEST(ParquetRowsOf, WhatIsTooLargeIsRefused) {
  const DataFilePtr file = local_file(rows_file("hellaswag.parquet"));
  const auto complaint = [&](const RowLimits& most) {
    return user_error_of([&] { parquet_rows(file, {}, 0, most); });
  };
  EXPECT_THAT(complaint({.rows = 6}), HasSubstr("hellaswag.parquet, row group 2: expected readable Parquet, "
                                                "found too many rows"));
  EXPECT_THAT(complaint({.values = 40}), HasSubstr("too many values"));
  EXPECT_THAT(complaint({.bytes = 100}), HasSubstr("too many bytes of text"));
}

TEST(ParquetRowsOf, TruncatedAndFlippedBytesNeverCrash) {
  const std::string whole = slurp(rows_file("shapes.parquet"));
  const RowLimits most{.rows = 1 << 12, .values = 1 << 14, .bytes = 1 << 20};
  const auto read = [&](const std::string& bytes) {
    return user_error_of([&] { parquet_rows(memory_file("damaged", bytes), {}, 0, most); });
  };
  EXPECT_EQ(read(whole), "");
  for (size_t size = 0; size < whole.size(); size += 41) EXPECT_NE(read(whole.substr(0, size)), "") << size;
  int refused = 0;
  for (size_t i = 0; i < whole.size(); i += 5) {
    std::string bytes = whole;
    bytes[i] = static_cast<char>(bytes[i] ^ (1 << (i % 8)));
    refused += read(bytes).empty() ? 0 : 1;
  }
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace moe::data
