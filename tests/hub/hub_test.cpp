// SPDX-License-Identifier: MIT
// Revisions, listings, reads, tokens, and what is said when they fail.
#include "hub/hub.h"

#include <gmock/gmock.h>

#include "hub/fixture.h"

namespace moe::hub {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(HubTest, AsksForACommitOnce) {
  serve();
  const auto asked = hub();
  EXPECT_EQ(asked->commit(all_), kCommit);
  EXPECT_EQ(asked->commit(Address::parse("hf://datasets/user/name/data")), kCommit);
  EXPECT_EQ(report()["counts"]["api"], 1);
  EXPECT_EQ(asked->commit(Address::parse("hf://datasets/user/name@refs/convert/parquet")), kCommit);
  EXPECT_EQ(asked->commit(Address::parse(std::string("hf://datasets/user/name@") + kCommit)), kCommit);
  const auto seen = report();
  EXPECT_EQ(seen["counts"]["api"], 2);
  EXPECT_EQ(seen["log"][1][2], "/api/datasets/user/name/revision/refs%2Fconvert%2Fparquet");
}

TEST_F(HubTest, ListsFilesAndFolders) {
  serve();
  const auto asked = hub();
  EXPECT_THAT(asked->list(all_), ElementsAre(readme_, large_file_, small_file_));
  EXPECT_THAT(asked->list(Address::parse("hf://datasets/user/name/data/deep")), ElementsAre(large_file_));
  EXPECT_THAT(asked->list(Address::parse("hf://datasets/user/name/data/small.jsonl")),
              ElementsAre(small_file_));
  EXPECT_THAT(asked->list(Address::parse("hf://datasets/user/name@refs%2Fconvert%2Fparquet/README.md")),
              ElementsAre(readme_));
}

TEST_F(HubTest, ListsPageByPage) {
  for (int i = 0; i < 25; ++i) folder_.put(fmt::format("models/u/m/part {:03}/x#{}.bin", 24 - i, i), "x");
  serve({"--page-size", "3"});
  const auto files = hub()->list(Address::parse("hf://u/m"));
  EXPECT_EQ(files.size(), 25u);
  EXPECT_TRUE(std::is_sorted(files.begin(), files.end(), [](auto& a, auto& b) { return a.path < b.path; }));
  EXPECT_EQ(files[0].path, "part 000/x#24.bin");
  EXPECT_GE(report()["counts"]["api"], 1 + 50 / 3);
  EXPECT_EQ(hub()->open(Address::parse("hf://u/m"), files[3])->read(0, 9), "x");
}

// Each page names another next one.
TEST_F(HubTest, ListingsEnd) {
  serve();
  hub()->commit(all_);
  server_->control(R"({"endless": "empty"})");
  EXPECT_THAT(test::user_error_of([&] { hub()->list(all_); }),
              testing::AllOf(HasSubstr("a listing that ends"), HasSubstr("2000 pages with 0 files")));
}

TEST_F(HubTest, ListingsSurviveFaults) {
  for (int i = 0; i < 40; ++i) folder_.put(fmt::format("datasets/u/n/{:03}.txt", i), "x");
  serve({"--page-size", "4"});
  server_->control(
      R"({"seed": 3, "rate": 0.4, "scope": "api", "kinds": ["500", "429", "close", "truncate", "reset"]})");
  EXPECT_EQ(hub()->list(Address::parse("hf://datasets/u/n")).size(), 40u);
  EXPECT_GE(client_->counters().retries, 4);
}

TEST_F(HubTest, ReadsThroughSignedUrls) {
  serve();
  const auto asked = hub();
  const auto large = asked->open(all_, large_file_);
  EXPECT_EQ(large->name(), "hf://datasets/user/name/data/deep/large.bin");
  EXPECT_EQ(large->size(), 5000);
  EXPECT_EQ(large->read(100, 4000), large_.substr(100, 3900));
  EXPECT_EQ(large->read(4990, 6000), large_.substr(4990));
  EXPECT_EQ(asked->open(all_, readme_)->read(2, 7), "Three");
  const auto seen = report();
  EXPECT_EQ(seen["counts"]["resolve"], 2);
  EXPECT_EQ(seen["counts"]["cdn"], 2);
}

TEST_F(HubTest, TheTokenStaysAtHome) {
  serve({"--token", "hf_word"});
  const auto asked = hub(settings("cache", "hf_word"));
  EXPECT_THAT(asked->list(all_), ElementsAre(readme_, large_file_, small_file_));
  EXPECT_EQ(asked->open(all_, large_file_)->read(0, 5000), large_);
  EXPECT_EQ(asked->open(all_, readme_)->read(0, 100), "# Three files\n");
  asked->download(all_, large_file_);
  const auto seen = report();
  EXPECT_GE(seen["counts"]["cdn"], 2);
  EXPECT_EQ(seen["violations"], nlohmann::json::array());
}

TEST_F(HubTest, NextPagesElsewhereGetNoToken) {
  serve({"--page-size", "2"});
  server_->control(fmt::format(R"({{"next_host": "127.0.0.1:{}"}})", server_->port()));
  EXPECT_EQ(hub(settings("cache", "hf_word"))->list(all_).size(), 3u);
  const auto seen = report();
  EXPECT_GE(seen["counts"]["api"], 4);
  EXPECT_EQ(seen["violations"], nlohmann::json::array());
}

TEST_F(HubTest, SaysWhatATokenIsFor) {
  serve({"--token", "hf_word"});
  EXPECT_THAT(test::user_error_of([&] { hub()->list(all_); }),
              AllOf(HasSubstr("hf://datasets/user/name: "), HasSubstr("leave to read user/name"),
                    HasSubstr("/datasets/user/name and set HF_TOKEN")));
  EXPECT_THAT(test::user_error_of([&] { hub(settings("cache", "hf_other"))->list(all_); }),
              AllOf(HasSubstr("token"), Not(HasSubstr("hf_other"))));
  EXPECT_EQ(client_->counters().retries, 0);
}

TEST_F(HubTest, SaysWhatIsMissing) {
  serve();
  const auto asked = hub();
  const auto error = [&](const char* address) {
    return test::user_error_of([&] { asked->list(Address::parse(address)); });
  };
  EXPECT_THAT(error("hf://datasets/user/nothing"), AllOf(HasSubstr("user/nothing among the datasets"),
                                                         HasSubstr("check the name"), HasSubstr("HF_TOKEN")));
  EXPECT_THAT(error("hf://datasets/user/name@v9"), AllOf(HasSubstr("revision v9"), HasSubstr("/tree/main")));
  EXPECT_THAT(error("hf://datasets/user/name/nowhere"),
              AllOf(HasSubstr("nowhere"), HasSubstr("check the path")));
  EXPECT_THAT(error("hf://datasets/user/name/data/none.jsonl"), HasSubstr("none.jsonl"));
  File gone = large_file_;
  gone.path = "data/gone.bin";
  EXPECT_THAT(test::user_error_of([&] { asked->open(all_, gone)->read(0, 1); }),
              AllOf(HasSubstr("hf://datasets/user/name/data/gone.bin"), HasSubstr("404")));
  File changed = large_file_;
  changed.oid[0] = 'c';
  EXPECT_THAT(test::user_error_of([&] { asked->open(all_, changed)->read(0, 1); }), HasSubstr("changed"));
}

TEST_F(HubTest, RefusesWhatIsNoHub) {
  folder_.put("files/x", "text");
  serve();
  Settings wrong = settings();
  wrong.endpoint += "/echo";  // answers anything, with JSON of its own
  EXPECT_THAT(test::user_error_of([&] { hub(wrong)->list(all_); }),
              HasSubstr("is HF_ENDPOINT a Hugging Face hub?"));
}

TEST_F(HubTest, CacheServesWhenTheHubIsDown) {
  serve();
  hub()->download(all_, large_file_);
  server_.reset();
  const auto lonely = hub(settings());
  EXPECT_EQ(lonely->commit(all_), kCommit);
  EXPECT_THAT(events_, Contains(HasSubstr(std::string("using commit ") + kCommit)));
  EXPECT_EQ(lonely->open(all_, large_file_)->read(0, 5000), large_);
  EXPECT_THAT(test::user_error_of([&] { lonely->open(all_, readme_)->read(0, 1); }), HasSubstr("online"));
}

// What a server calls a size or a name is no more than a word.
TEST_F(HubTest, ListingsAreChecked) {
  serve();
  for (const char* entry :
       {R"({"type": "file", "path": "../x", "size": 1, "oid": "OID"})",
        R"({"type": "file", "path": "/etc/x", "size": 1, "oid": "OID"})",
        R"({"type": "file", "path": "a/./x", "size": 1, "oid": "OID"})",
        R"({"type": "file", "path": "x", "size": -1, "oid": "OID"})",
        R"({"type": "file", "path": "x", "size": 1e300, "oid": "OID"})",
        R"({"type": "file", "path": "x", "size": 1, "oid": "../../x"})",
        R"({"type": "file", "path": "x", "size": 1, "oid": "OID", "lfs": {"size": 1, "oid": "/x"}})",
        R"({"type": ["file"], "path": "x"})", R"("x")", "7"}) {
    std::string page = std::string("[") + entry + "]";
    if (const size_t at = page.find("OID"); at != std::string::npos)
      page.replace(at, 3, std::string(40, 'a'));
    server_->control(nlohmann::json{{"listing", page}}.dump());
    EXPECT_THAT(test::user_error_of([&] { hub()->list(all_); }), HasSubstr("hf://datasets/user/name"))
        << entry;
  }
}

TEST_F(HubTest, OfflineAsksNobody) {
  serve();
  hub()->download(all_, large_file_);
  hub()->download(all_, readme_);
  server_->control("{}");
  const auto alone = offline_hub();
  EXPECT_EQ(alone->commit(all_), kCommit);
  EXPECT_THAT(alone->list(all_), ElementsAre(readme_, large_file_));
  EXPECT_THAT(alone->list(Address::parse("hf://datasets/user/name/data")), ElementsAre(large_file_));
  EXPECT_EQ(alone->open(all_, large_file_)->read(0, 5000), large_);
  EXPECT_EQ(read_file(alone->download(all_, readme_)), "# Three files\n");
  for (const auto& wish : std::vector<std::function<void()>>{
           [&] { alone->open(all_, small_file_); }, [&] { alone->download(all_, small_file_); },
           [&] { alone->list(Address::parse("hf://datasets/user/name/other")); },
           [&] { alone->list(Address::parse("hf://datasets/user/other")); }})
    EXPECT_THAT(test::user_error_of(wish), AllOf(HasSubstr("cache"), HasSubstr("HF_HUB_OFFLINE")));
  EXPECT_EQ(report()["log"], nlohmann::json::array());
}

}  // namespace
}  // namespace moe::hub
