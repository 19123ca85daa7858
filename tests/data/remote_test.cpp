// SPDX-License-Identifier: MIT
// Text behind a hub that fails: the same documents in the same order as from the disk, or an error with a
// name.
#include "data/remote.h"

#include <gmock/gmock.h>

#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include "data/loader.h"
#include "data/support.h"
#include "hub/cache.h"
#include "support/folder.h"
#include "support/hub_server.h"

namespace moe::data {
namespace {

using testing::HasSubstr;

class RemoteTest : public testing::Test {
 protected:
  RemoteTest() {
    const auto repository = folder.path() / "datasets/us/er";
    std::filesystem::create_directories(repository / "data");
    for (const char* name : {"zstd_v2_plain.parquet", "empty_groups.parquet", "none_v1_small_pages.parquet"})
      std::filesystem::copy(golden(name), repository / "data" / name);
    std::filesystem::create_directories(repository / "parquet");
    for (const auto& entry : std::filesystem::directory_iterator(golden("")))
      if (entry.path().extension() == ".parquet" && !kOtherColumns.contains(entry.path().filename().string()))
        std::filesystem::copy(entry.path(), repository / "parquet" / entry.path().filename());
    std::string lines;
    for (int64_t i = 0; i < 2000; ++i)
      lines += nlohmann::json{{"n", i}, {"text", NumberedSource::text(i)}}.dump() + "\n";
    spill(repository / "more/lines.jsonl", lines);
    spill(repository / ".gitattributes", "hidden");
    std::filesystem::copy(golden("members.txt.gz"), repository / "members.txt.gz");
    spill(folder.path() / "files/plain.jsonl", lines);
    settings.endpoint = server.endpoint();
    settings.token = "hf_secret";
    settings.cache = folder.path() / "cache";
    config.unit_kb = 8;
    config.shuffle_window_mb = 1;
    config.cache_dir = (folder.path() / "moe_cache").string();
  }

  // Without a column "text".
  static inline const std::set<std::string> kOtherColumns{"nested.parquet", "no_text.parquet",
                                                          "typed.parquet", "polars_typed.parquet",
                                                          "text_of_numbers.parquet"};

  int64_t kept_bytes() const {
    int64_t total = 0;
    for (const auto& entry : std::filesystem::directory_iterator(local("parquet")))
      total += static_cast<int64_t>(entry.file_size());
    return total;
  }
  std::shared_ptr<Remote> remote(int64_t keep_bytes = 0) {
    net::ClientOptions options;
    options.retry.first_wait = 0.001;
    options.retry.longest_wait = 0.02;
    options.retry.patience = 10;
    options.retry.stall_timeout = 0.5;
    return Remote::open(terminal, settings, options, keep_bytes);
  }
  std::shared_ptr<const Source> open(const std::string& place) {
    return open_source({place}, config, terminal, remote());
  }
  std::string local(const std::string& place) const {
    return (folder.path() / "datasets/us/er" / place).string();
  }

  test::TestFolder folder;
  test::HubServer server{folder.path(), {"--token", "hf_secret"}};
  test::LogFile log;
  Terminal terminal{log.stream()};
  hub::Settings settings;
  DataConfig config;
};

std::vector<std::vector<int32_t>> first_batches(const std::shared_ptr<const Source>& source,
                                                const DataConfig& config, int count) {
  Loader loader(source, tokenizer(), config, 5, 4, 64, {}, Part::train);
  std::vector<std::vector<int32_t>> targets;
  for (int i = 0; i < count; ++i) targets.push_back(loader.next()->target);
  return targets;
}

TEST_F(RemoteTest, AHubFolderHoldsWhatTheDiskHolds) {
  const auto there = open("hf://datasets/us/er/data");
  EXPECT_EQ(all_texts(*there), all_texts(*open(local("data"))));
  EXPECT_GT(there->network().bytes, 1000);
  EXPECT_EQ(all_texts(*open("hf://datasets/us/er/more/lines.jsonl")),
            all_texts(*open(local("more/lines.jsonl"))));
  EXPECT_THAT(log.text(), HasSubstr("opening files: 3 files"));
}

TEST_F(RemoteTest, AUrlIsAFileToo) {
  EXPECT_EQ(all_texts(*open(server.endpoint() + "/files/plain.jsonl")),
            all_texts(*open(local("more/lines.jsonl"))));
}

TEST_F(RemoteTest, CompressedFilesAreDownloadedOnceAndDecoded) {
  EXPECT_THAT(all_texts(*open("hf://datasets/us/er/members.txt.gz")), testing::SizeIs(1));
  server.control("{}");
  EXPECT_THAT(all_texts(*open("hf://datasets/us/er/members.txt.gz")), testing::SizeIs(1));
  EXPECT_THAT(server.control(), testing::Not(HasSubstr("\"cdn\"")));
}

TEST_F(RemoteTest, FaultsChangeNothingButTheCounters) {
  config.validation_fraction = 0;
  const auto expected = first_batches(open(local("more")), config, 150);
  for (const int64_t readers : {1, 4}) {
    config.read_threads = readers;
    server.control(
        R"({"rate": 0.3, "seed": 3, "seconds": 0, "expires_after": 5, "kinds": ["429", "429-after", "500",
      "503", "close", "reset", "truncate", "reset-body", "short-range", "chunked-truncate", "chunked"]})");
    const auto source = open("hf://datasets/us/er/more");
    EXPECT_EQ(first_batches(source, config, 150), expected);
    EXPECT_GT(source->network().retries, 10);
    const auto report = nlohmann::json::parse(server.control());
    EXPECT_TRUE(report["violations"].empty()) << report["violations"];
    EXPECT_GT(report["faults"].size(), 5u);
  }
  EXPECT_THAT(log.text(), testing::Not(HasSubstr("secret")));
}

// Of many writers, codecs and page formats: each row group is a request or two, and three in ten fail.
TEST_F(RemoteTest, ParquetBehindFaultsIsTheSameByteForByte) {
  config.validation_fraction = 0;
  const auto disk = open(local("parquet"));
  const auto expected_texts = all_texts(*disk);
  ASSERT_GT(disk->units(), 20);
  const auto expected = first_batches(disk, config, 150);
  for (const int64_t readers : {1, 4}) {
    config.read_threads = readers;
    server.control(
        R"({"rate": 0.3, "seed": 11, "seconds": 0, "expires_after": 7, "kinds": ["429", "429-after", "500",
      "503", "close", "reset", "truncate", "reset-body", "short-range", "chunked-truncate", "chunked"]})");
    const auto source = open("hf://datasets/us/er/parquet");
    EXPECT_EQ(all_texts(*source), expected_texts);
    EXPECT_EQ(first_batches(source, config, 150), expected);
    EXPECT_GT(source->network().retries, 20);
    const auto report = nlohmann::json::parse(server.control());
    EXPECT_TRUE(report["violations"].empty()) << report["violations"];
    EXPECT_GT(report["faults"].size(), 5u);
  }
}

TEST_F(RemoteTest, FilesThatAreKeptHoldTheSame) {
  config.validation_fraction = 0;
  const auto expected = first_batches(open(local("parquet")), config, 150);
  const auto kept = open_source({"hf://datasets/us/er/parquet"}, config, terminal, remote(1 << 20));
  EXPECT_EQ(first_batches(kept, config, 150), expected);
  const hub::Cache cache(settings.cache);
  const auto unfinished = [&] {  // its last bytes may be there before its name is
    for (const auto& entry : std::filesystem::recursive_directory_iterator(settings.cache))
      if (entry.path().extension() == ".incomplete") return true;
    return cache.fetched_bytes() < kept_bytes();
  };
  for (int waits = 0; waits < 3000 && unfinished(); ++waits)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ASSERT_EQ(cache.fetched_bytes(), kept_bytes());
  const auto again = open_source({"hf://datasets/us/er/parquet"}, config, terminal, remote(1 << 20));
  server.control(R"({"rate": 1, "kinds": ["404"], "scope": "cdn"})");
  EXPECT_EQ(first_batches(again, config, 150), expected);
}

TEST_F(RemoteTest, IdentityIsOfTheContentNotThePlace) {
  const auto here = open("hf://datasets/us/er/data")->identity();
  const test::HubServer mirror(folder.path());
  settings.endpoint = mirror.endpoint();
  EXPECT_EQ(open("hf://datasets/us/er/data")->identity(), here);
  EXPECT_EQ(open("hf://datasets/us/er@main/data")->identity(), here);
  config.filters = {"text != x"};
  EXPECT_NE(open("hf://datasets/us/er/data")->identity(), here);
}

TEST_F(RemoteTest, APermanentFailureNamesTheFileAfterWhatCameBefore) {
  std::string lines;
  for (int64_t i = 0; lines.size() < 4 << 20; ++i)
    lines += nlohmann::json{{"text", NumberedSource::text(i % 2000)}}.dump() + "\n";
  spill(folder.path() / "datasets/us/er/big/lines.jsonl", lines);
  config.unit_kb = 256;
  config.read_threads = 1;
  const auto source = open("hf://datasets/us/er/big");
  // 20 of the 64 units are good; a window has 16.
  const nlohmann::json plan{
      {"script", std::vector<std::string>(20)}, {"rate", 1}, {"kinds", {"404"}}, {"scope", "cdn"}};
  server.control(plan.dump());
  Loader loader(source, tokenizer(), config, 5, 4, 64, {}, Part::all);
  int batches = 0;
  const std::string message = user_error_of([&] {
    while (loader.next()) ++batches;
  });
  EXPECT_GT(batches, 500);
  EXPECT_THAT(message, HasSubstr("lines.jsonl"));
  EXPECT_THAT(message, HasSubstr("404"));
}

TEST_F(RemoteTest, StopsAtOnceWhileTheServerStalls) {
  const auto source = open("hf://datasets/us/er/more");
  server.control(R"({"rate": 1, "kinds": ["stall"], "seconds": 5, "scope": "cdn"})");
  auto loader = std::make_unique<Loader>(source, tokenizer(), config, 5, 4, 64, Cursor{}, Part::train);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const auto begin = std::chrono::steady_clock::now();
  loader.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(500));
  server.control("{}");
  EXPECT_FALSE(all_texts(*source).empty());  // the source is as good as before
}

TEST_F(RemoteTest, WhatIsNotThereIsAUserError) {
  EXPECT_THAT(user_error_of([&] { open("hf://datasets/us/er/nothing"); }),
              HasSubstr("hf://datasets/us/er/nothing"));
  EXPECT_THAT(user_error_of([&] { open("hf://datasets/us/none/data"); }), HasSubstr("us/none"));
  EXPECT_THAT(user_error_of([&] { open("hf://datasets/us"); }), testing::Not(testing::IsEmpty()));
  settings.token.clear();
  EXPECT_THAT(user_error_of([&] { open("hf://datasets/us/er/data"); }), HasSubstr("HF_TOKEN"));
}

}  // namespace
}  // namespace moe::data
