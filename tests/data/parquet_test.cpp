// SPDX-License-Identifier: MIT
#include "data/parquet.h"

#include <gmock/gmock.h>

#include <optional>

#include "data/support.h"

namespace moe::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class ParquetFiles : public testing::TestWithParam<const char*> {};

// Written by pyarrow and polars (tools/make_data_goldens.py).
TEST_P(ParquetFiles, HoldTheTexts) {
  EXPECT_EQ(all_texts(*parquet_source(local_file(golden(GetParam())), "text")), golden_texts());
}

INSTANTIATE_TEST_SUITE_P(Shapes, ParquetFiles,
                         testing::Values("snappy_v1_dictionary.parquet", "zstd_v2_plain.parquet",
                                         "gzip_v2_dictionary.parquet", "none_v1_small_pages.parquet",
                                         "delta_v2.parquet", "large_string.parquet",
                                         "arrow_dictionary.parquet", "required.parquet",
                                         "empty_groups.parquet", "polars_zstd.parquet",
                                         "polars_snappy.parquet", "polars_gzip.parquet",
                                         "polars_uncompressed.parquet"));

TEST(Parquet, UnitsAreRowGroups) {
  const ParquetColumn column(local_file(golden("empty_groups.parquet")), "text");
  ASSERT_EQ(column.row_groups(), 5);
  Documents documents;
  column.read(0, documents);
  EXPECT_EQ(documents.size(), 0);
  column.read(3, documents);
  EXPECT_EQ(column.rows(3), 24);
  EXPECT_GT(documents.size(), 15);
  EXPECT_GT(column.bytes(3), 3000);
}

TEST(Parquet, ReadsAFieldOfAStruct) {
  EXPECT_EQ(all_texts(*parquet_source(local_file(golden("nested.parquet")), "page.text")), golden_texts());
}

TEST(Parquet, NoRowsIsNoError) {
  EXPECT_TRUE(all_texts(*parquet_source(local_file(golden("no_rows.parquet")), "text")).empty());
}

TEST(Parquet, AWrongColumnListsThoseThereAre) {
  const auto open = [](const char* file, const char* column) {
    return user_error_of([&] { parquet_source(local_file(golden(file)), column); });
  };
  EXPECT_THAT(open("large_string.parquet", "body"),
              AllOf(HasSubstr("expected a column \"body\" of text, found text columns text, url"),
                    HasSubstr("data.text_column")));
  EXPECT_THAT(open("large_string.parquet", "id"), HasSubstr("found text columns text, url"));
  EXPECT_THAT(open("no_text.parquet", "tags"), HasSubstr("found no column of text"));
  EXPECT_THAT(open("tokens.bin", "text"), HasSubstr("tokens.bin, the footer: expected readable Parquet"));
}

TEST(Parquet, ADictionaryPageOfSeveralMegabytesIsRead) {
  const auto source = parquet_source(local_file(golden("large_dictionary.parquet")), "text");
  EXPECT_GT(source->unit_bytes(0), 5'000'000);
  const auto found = all_texts(*source);
  ASSERT_EQ(found.size(), 1000u);
  EXPECT_TRUE(found[123].starts_with("000123 and so on "));
  EXPECT_EQ(found[999].size(), 7u + 220 * 23);
}

TEST(Parquet, OnlyTheColumnsThatAreNeededAreRead) {
  class File : public DataFile {
   public:
    explicit File(std::shared_ptr<const CountingInput> input)
        : DataFile("counting", input->size()), input_(std::move(input)) {}
    std::string identity() const override { return "counting"; }
    std::shared_ptr<const Input> open() const override { return input_; }

   private:
    std::shared_ptr<const CountingInput> input_;
  };
  const auto input = std::make_shared<const CountingInput>(slurp(golden("wide.parquet")));
  ParquetColumn column(std::make_shared<File>(input), "text");
  EXPECT_LE(input->bytes, 64 << 10);
  input->bytes = input->reads = 0;
  Documents documents;
  column.read(1, documents);
  EXPECT_EQ(input->reads, 1);
  EXPECT_LT(input->bytes, 2000);
  EXPECT_EQ(texts(documents), (std::vector<std::string>{"text 2", "text 3"}));
}

class ParquetFilters : public testing::TestWithParam<const char*> {};

// What is left was worked out by Python (tools/make_data_goldens.py).
TEST_P(ParquetFilters, LeaveTheRowsThatPass) {
  const auto expected = nlohmann::json::parse(slurp(golden("filtered.json")));
  ASSERT_GE(expected.size(), 7u);
  for (const auto& [filter, left] : expected.items()) {
    const auto source = parquet_source(local_file(golden(GetParam())), "text", parse_filters({filter}));
    EXPECT_EQ(all_texts(*source), left.get<std::vector<std::string>>()) << filter;
  }
  const auto both = parquet_source(local_file(golden(GetParam())), "text",
                                   parse_filters({"int_score >= 3", "language == en"}));
  for (const std::string& text : all_texts(*both)) {
    EXPECT_THAT(expected["int_score >= 3"], testing::Contains(text));
    EXPECT_THAT(expected["language == en"], testing::Contains(text));
  }
  EXPECT_EQ(all_texts(*both).size(), 10u);
}

INSTANTIATE_TEST_SUITE_P(Writers, ParquetFilters, testing::Values("typed.parquet", "polars_typed.parquet"));

TEST(Parquet, AFilterOfNoColumnListsThoseItCouldBe) {
  const auto open = [](const char* filter) {
    return user_error_of(
        [&] { parquet_source(local_file(golden("typed.parquet")), "text", parse_filters({filter})); });
  };
  EXPECT_THAT(open("score_ >= 3"), HasSubstr("found the columns int_score, score, small, count"));
  EXPECT_THAT(open("language >= 3"), HasSubstr("a column for the filter language >= 3"));
  EXPECT_THAT(open("lang == en"), HasSubstr("found the columns text, language, good"));
}

TEST(Parquet, ColumnsThatNobodyReadMayHoldAnything) {
  EXPECT_EQ(all_texts(*parquet_source(local_file(golden("image.parquet")), "text")),
            (std::vector<std::string>{"text 0", "text 1", "text 2", "text 3", "text 4"}));
}

TEST(Parquet, AFileWithoutTheTextIsLeftOutWhereBadRowsAre) {
  test::LogFile log;
  Terminal terminal(log.stream());
  DataConfig config;
  const auto file = local_file(golden("text_of_numbers.parquet"));
  {
    Complaints stop(config, terminal);
    EXPECT_THAT(user_error_of([&] { parquet_source(file, "text", {}, &stop); }),
                AllOf(HasSubstr("expected a column \"text\" of text"), HasSubstr("data.bad_rows=skip")));
  }
  config.bad_rows = BadRows::skip;
  {
    Complaints skip(config, terminal);
    EXPECT_EQ(parquet_source(file, "text", {}, &skip)->units(), 0);
  }
  EXPECT_THAT(log.text(),
              AllOf(HasSubstr("text_of_numbers.parquet: left out: expected a column \"text\" of text"),
                    HasSubstr("3 rows that cannot be read were left out")));
  config.bad_rows_limit = 2;
  Complaints few(config, terminal);
  EXPECT_THAT(user_error_of([&] { parquet_source(file, "text", {}, &few); }),
              HasSubstr("data.bad_rows_limit"));
}

// The texts of damaged bytes, or nothing when that was a UserError; any other end fails the test.
std::optional<std::vector<std::string>> read_damaged(const std::string& bytes, const Filters& filters = {}) {
  try {
    const ParquetColumn column(memory_file("damaged", bytes), "text", filters, 1 << 24);
    Documents documents;
    for (int64_t i = 0; i < column.row_groups(); ++i) column.read(i, documents);
    return texts(documents);
  } catch (const UserError&) {
    return std::nullopt;
  }
}

TEST(Parquet, EveryTruncationIsAnError) {
  const std::string whole = slurp(golden("zstd_v2_plain.parquet"));
  ASSERT_TRUE(read_damaged(whole));
  for (size_t size = 0; size < whole.size(); size += size < whole.size() - 200 ? 97 : 1)
    ASSERT_FALSE(read_damaged(whole.substr(0, size))) << size;
}

TEST(Parquet, FlippedBitsNeverCrash) {
  for (const char* name :
       {"snappy_v1_dictionary.parquet", "gzip_v2_dictionary.parquet", "delta_v2.parquet"}) {
    const std::string whole = slurp(golden(name));
    int refused = 0;
    for (size_t i = 0; i < whole.size(); i += 13) {
      std::string bytes = whole;
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << (i % 8)));
      refused += read_damaged(bytes) ? 0 : 1;
    }
    EXPECT_GT(refused, 0) << name;
  }
  const std::string whole = slurp(golden("typed.parquet"));
  const Filters filters = parse_filters({"int_score >= 3", "language == en", "score < 5", "good == true"});
  for (size_t i = 0; i < whole.size(); i += 7) {
    std::string bytes = whole;
    bytes[i] = static_cast<char>(bytes[i] ^ (1 << (i % 8)));
    read_damaged(bytes, filters);
  }
}

TEST(Parquet, ChecksumsCatchEveryFlipInAPage) {
  const std::string whole = slurp(golden("none_v1_small_pages.parquet"));  // uncompressed, with checksums
  const size_t word = whole.find("w144 w169");
  ASSERT_NE(word, std::string::npos);
  for (size_t i = word; i < word + 9; ++i) {
    std::string bytes = whole;
    bytes[i] = static_cast<char>(bytes[i] ^ 1);
    EXPECT_FALSE(read_damaged(bytes));
  }
}

TEST(Parquet, ErrorsNameFileAndRowGroup) {
  const auto file = fresh_folder() / "bad.parquet";
  std::string bytes = slurp(golden("none_v1_small_pages.parquet"));
  bytes[bytes.rfind("row 63")] = 'R';  // in the last row group
  spill(file, bytes);
  const auto source = parquet_source(local_file(file), "text");
  Documents documents;
  source->read(0, documents);
  EXPECT_THAT(user_error_of([&] { source->read(2, documents); }),
              HasSubstr("bad.parquet, row group 2: expected readable Parquet"));
}

TEST(Parquet, MissingRowsAreAnError) {
  const std::string whole = slurp(golden("empty_groups.parquet"));
  std::vector<std::string> messages;
  // The footer's 64-bit fields that hold 40 (Thrift: 0x16, then 2 * 40), one of them the rows of row group 1.
  for (size_t at = whole.find("\x16\x50"); at != std::string::npos; at = whole.find("\x16\x50", at + 1)) {
    std::string bytes = whole;
    bytes[at + 1] = 2 * 41;
    messages.push_back(user_error_of([&] {
      Documents documents;
      ParquetColumn(memory_file("short", bytes), "text").read(1, documents);
    }));
  }
  EXPECT_THAT(messages, testing::Contains(
                            HasSubstr("short, row group 1: expected readable Parquet, found 40 rows of 41")));
}

TEST(Parquet, ARowGroupOfTooMuchTextIsRefused) {
  const std::string bytes = slurp(golden("large_string.parquet"));
  const ParquetColumn column(memory_file("big", bytes), "text", {}, 100);
  Documents documents;
  EXPECT_THAT(user_error_of([&] { column.read(0, documents); }), HasSubstr("more than 100 bytes"));
}

}  // namespace
}  // namespace moe::data
