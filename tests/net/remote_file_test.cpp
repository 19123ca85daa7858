// SPDX-License-Identifier: MIT
// RemoteFile against a server that fails at random: every byte right, from several threads; URLs that expire.
#include "net/remote_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "support/errors.h"
#include "support/folder.h"
#include "support/hub_server.h"

namespace moe::net {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

class RemoteFileTest : public testing::Test {
 protected:
  RemoteFileTest() {
    for (size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = static_cast<char>(random_.bits(i));
    folder_.put("files/x.bin", bytes_);
    folder_.put("files/empty", "");
    folder_.put("datasets/u/n/x.bin", bytes_);
    server_.emplace(folder_.path());
    ClientOptions options;
    options.retry = {.patience = 2,
                     .first_wait = 0.005,
                     .longest_wait = 0.02,
                     .longest_asked = 0.02,
                     .connect_timeout = 5,
                     .stall_timeout = 0.2};
    options.on_event = [this](const std::string& line) {
      const std::lock_guard lock(mutex_);
      events_.push_back(line);
    };
    client_.emplace(options);
  }

  std::string url(const std::string& path) const { return server_->endpoint() + path; }
  nlohmann::json report() const { return nlohmann::json::parse(server_->control()); }

  // Reads of random places and lengths, all compared.
  void read_at_random(const RemoteFile& file, uint64_t stream, uint64_t reads) const {
    const Random places(7, stream);
    for (uint64_t i = 0; i < reads; ++i) {
      const auto begin = places.below(2 * i, bytes_.size());
      const auto length = places.below(2 * i + 1, 20'000);
      const auto from = static_cast<int64_t>(begin), to = static_cast<int64_t>(begin + length);
      ASSERT_EQ(file.read(from, to), bytes_.substr(begin, length)) << begin << " " << length;
    }
  }

  // The hub's own way: a signed URL on another host, from a HEAD that is not followed.
  RemoteFile signed_file() {
    return {*client_,
            "hf://datasets/u/n/x.bin",
            [this] {
              const Response response =
                  client_->get({.url = Url::parse(url("/datasets/u/n/resolve/main/x.bin")),
                                .method = "HEAD",
                                .follow = false});
              return RemoteAddress{.url = Url::parse(response.headers.get("Location"))};
            },
            {.size = static_cast<int64_t>(bytes_.size())}};
  }

  const Random random_{1, "bytes"};
  std::string bytes_ = std::string(300'000, '\0');
  test::TestFolder folder_;
  std::optional<test::HubServer> server_;
  std::mutex mutex_;
  std::vector<std::string> events_;
  std::optional<Client> client_;
};

TEST_F(RemoteFileTest, OpensAUrl) {
  for (const char* query : {"", "?nohead=1", "?noetag=1"}) {
    const auto file = open_url(*client_, url(std::string("/files/x.bin") + query));
    EXPECT_EQ(file->size(), 300'000);
    EXPECT_EQ(file->name(), url("/files/x.bin"));
    EXPECT_EQ(file->read(0, 10), bytes_.substr(0, 10));
    EXPECT_EQ(file->read(299'990, 400'000), bytes_.substr(299'990));
    EXPECT_EQ(file->read(5, 5), "");
  }
  EXPECT_EQ(open_url(*client_, url("/files/empty"))->read(0, 10), "");
  EXPECT_EQ(open_url(*client_, url("/files/empty?nohead=1"))->size(), 0);
  EXPECT_THAT(test::user_error_of([&] { open_url(*client_, url("/files/none")); }), HasSubstr("HTTP 404"));
  EXPECT_THAT(test::user_error_of([&] { open_url(*client_, url("/files/x.bin?norange=1")); }),
              HasSubstr("does not serve ranges"));
}

TEST_F(RemoteFileTest, EveryByteIsRightUnderRandomFaults) {
  const RemoteFile file = signed_file();
  server_->control(
      R"({"seed": 5, "rate": 0.35, "seconds": 0.5, "expires_after": 9, "kinds": ["close", "reset",
      "reset-body", "truncate", "stall-body", "429", "429-after", "500", "503", "wrong-range", "ignore-range",
      "short-range", "chunked-truncate", "chunked", "truncate", "reset-body"]})");
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) threads.emplace_back([&, t] { read_at_random(file, t, 60); });
  for (std::thread& thread : threads) thread.join();

  const auto seen = report();
  EXPECT_GE(seen["faults"].size(), 12u) << seen["faults"];
  EXPECT_EQ(seen["violations"], nlohmann::json::array());
  EXPECT_GT(client_->counters().retries, 40);
  EXPECT_GT(client_->counters().resolves, 10);
}

TEST_F(RemoteFileTest, AsksForANewUrlOncePerExpiry) {
  const RemoteFile file = signed_file();
  server_->control(R"({"expires_after": 5})");
  for (int i = 0; i < 20; ++i) file.read(i, i + 1);
  EXPECT_EQ(client_->counters().resolves, 4);
  EXPECT_EQ(report()["counts"]["cdn"], 20 + 3);

  // A refusal in the middle of a body: it goes on with the new URL.
  server_->control(R"({"expires_after": 1000, "scope": "cdn", "script": ["truncate", "403"]})");
  EXPECT_EQ(file.read(0, 300'000), bytes_);
}

TEST_F(RemoteFileTest, ManyReadersShareTheNewUrl) {
  const RemoteFile file = signed_file();
  server_->control(R"({"expires_after": 40})");
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) threads.emplace_back([&, t] { read_at_random(file, t, 50); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(client_->counters().resolves, 5);  // 200 reads, 40 each
  EXPECT_LE(client_->counters().resolves, 6);
}

TEST_F(RemoteFileTest, ARefusalOfFreshUrlsIsFinal) {
  const RemoteFile file = signed_file();
  server_->control(R"({"scope": "cdn", "rate": 1, "kinds": ["403"]})");
  EXPECT_THAT(test::user_error_of([&] { file.read(10, 20); }),
              AllOf(HasSubstr("hf://datasets/u/n/x.bin: expected bytes 10-19"), HasSubstr("HTTP 403"),
                    Not(HasSubstr("secret"))));
  EXPECT_LE(client_->counters().resolves, 4);
}

TEST_F(RemoteFileTest, NoticesThatTheFileChanged) {
  const auto file = open_url(*client_, url("/files/x.bin"));
  file->read(0, 10);
  folder_.put("files/x.bin", std::string(300'000, 'x'));
  EXPECT_THAT(test::user_error_of([&] { file->read(0, 10); }), HasSubstr("changed"));
  folder_.put("files/x.bin", std::string(200'000, 'x'));
  EXPECT_THAT(test::user_error_of([&] { file->read(250'000, 250'010); }),
              AllOf(HasSubstr("files/x.bin"), HasSubstr("416")));
}

// The server that a signed URL names may be away for good: another URL is asked for, as long as the patience
// lasts.
TEST_F(RemoteFileTest, AsksForAnotherAddressWhenTheServerIsAway) {
  int asked = 0;
  const RemoteFile file(
      *client_, "x",
      [&] {
        return RemoteAddress{.url = Url::parse(asked++ < 2 ? "http://127.0.0.1:9/x" : url("/files/x.bin"))};
      },
      {.size = static_cast<int64_t>(bytes_.size())});
  EXPECT_EQ(file.read(10, 2000), bytes_.substr(10, 1990));
  EXPECT_EQ(asked, 3);
  const RemoteFile lost(*client_, "y",
                        [&] { return RemoteAddress{.url = Url::parse("http://127.0.0.1:9/x")}; },
                        {.size = static_cast<int64_t>(bytes_.size())});
  EXPECT_THROW(lost.read(10, 2000), Unreachable);
}

// A damaged head may be the first one; what it says is not held against all that come after.
TEST_F(RemoteFileTest, AWrongVersionAtFirstIsForgotten) {
  server_->control(R"({"scope": "files", "script": ["wrong-etag"]})");
  const RemoteFile file(*client_, "x", [&] { return RemoteAddress{.url = Url::parse(url("/files/x.bin"))}; },
                        {.size = static_cast<int64_t>(bytes_.size())});
  EXPECT_EQ(file.read(0, 100), bytes_.substr(0, 100));
  EXPECT_EQ(file.read(100, 2000), bytes_.substr(100, 1900));
}

TEST_F(RemoteFileTest, LeavesTheErrorsOfItsReaderAlone) {
  const RemoteFile file = signed_file();
  EXPECT_EQ(test::user_error_of([&] {
              file.stream(0, 10, [](std::string_view) { throw UserError("disk", "space", "none"); });
            }),
            "disk: expected space, found none");
}

TEST_F(RemoteFileTest, PermanentFailuresNameTheFile) {
  const RemoteFile file = signed_file();
  server_->control(R"({"scope": "cdn", "rate": 1, "kinds": ["500"]})");
  EXPECT_THAT(
      test::user_error_of([&] { file.read(10, 20); }),
      AllOf(HasSubstr("hf://datasets/u/n/x.bin"), HasSubstr("times in a row"), Not(HasSubstr("secret"))));
  EXPECT_FALSE(events_.empty());
  EXPECT_THAT(events_, Each(HasSubstr("hf://datasets/u/n/x.bin: HTTP 500; trying again")));
  server_->control(R"({"scope": "resolve", "rate": 1, "kinds": ["404"]})");
  EXPECT_THAT(test::user_error_of([&] { signed_file().read(10, 20); }), HasSubstr("HTTP 404"));
}

}  // namespace
}  // namespace moe::net
