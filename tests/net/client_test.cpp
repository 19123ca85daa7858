// SPDX-License-Identifier: MIT
// Client against a server that fails on demand: each failure that passes, each that does not, and what the
// messages say.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <chrono>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "net/http.h"
#include "support/errors.h"
#include "support/folder.h"
#include "support/hub_server.h"

namespace moe::net {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

std::string some_bytes(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((i * 2654435761u) >> 13);
  return bytes;
}

class ClientTest : public testing::Test {
 protected:
  ClientTest() {
    folder_.put("files/x.bin", bytes_);
    folder_.put("files/empty", "");
    server_.emplace(folder_.path());
  }

  // Waits are short, and nothing of the environment counts.
  ClientOptions options() {
    ClientOptions options;
    options.retry = {.patience = 2,
                     .first_wait = 0.01,
                     .longest_wait = 0.05,
                     .longest_asked = 0.2,
                     .connect_timeout = 5,
                     .stall_timeout = 0.4};
    options.on_event = [this](const std::string& line) {
      const std::lock_guard lock(mutex_);
      events_.push_back(line);
    };
    return options;
  }
  Url url(const std::string& path) const { return Url::parse(server_->endpoint() + path); }
  void script(const std::string& faults, double seconds = 0) const {
    server_->control(R"({"scope": "files", "script": [)" + faults +
                     fmt::format(R"(], "seconds": {:g}}})", seconds));
  }
  nlohmann::json report() const { return nlohmann::json::parse(server_->control()); }
  std::vector<std::string> ranges() const {
    std::vector<std::string> result;
    const nlohmann::json seen = report();
    for (const auto& entry : seen["log"]) result.push_back(entry[3]);
    return result;
  }

  const std::string bytes_ = some_bytes(100'000);
  test::TestFolder folder_;
  std::optional<test::HubServer> server_;
  std::mutex mutex_;
  std::vector<std::string> events_;
};

TEST_F(ClientTest, GetsFilesRangesAndHeads) {
  Client client(options());
  const Response whole = client.get({.url = url("/files/x.bin")});
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(whole.body, bytes_);
  EXPECT_EQ(whole.total_size, 100'000);
  EXPECT_TRUE(whole.ranges);
  EXPECT_EQ(whole.validator, whole.headers.get("etag"));

  const Response some = client.get({.url = url("/files/x.bin"), .range = Range{1000, 3000}});
  EXPECT_EQ(some.status, 206);
  EXPECT_EQ(some.body, bytes_.substr(1000, 2000));
  EXPECT_EQ(some.total_size, 100'000);

  const Response head = client.get({.url = url("/files/x.bin"), .method = "HEAD"});
  EXPECT_EQ(head.body, "");
  EXPECT_EQ(head.total_size, 100'000);
  EXPECT_EQ(client.get({.url = url("/files/empty")}).body, "");

  EXPECT_EQ(client.counters().requests, 4);
  EXPECT_EQ(client.counters().bytes, 102'000);
  EXPECT_EQ(client.counters().retries, 0);
  EXPECT_THAT(events_, IsEmpty());
}

TEST_F(ClientTest, SaysWhoItIs) {
  Client client(options());
  const auto echo = nlohmann::json::parse(
      client.get({.url = url("/echo"), .headers = {{"X-One", "1"}}, .bearer = "hf_word"}).body);
  EXPECT_THAT(echo["user-agent"].get<std::string>(), testing::StartsWith("moe.cpp/"));
  EXPECT_EQ(echo["accept-encoding"], "identity");
  EXPECT_EQ(echo["x-one"], "1");
  EXPECT_EQ(echo["authorization"], "Bearer hf_word");
}

// Each of these passes: the bytes are right, after as many retries as faults.
TEST_F(ClientTest, RetriesWhatMayPass) {
  int64_t retries = 0;
  for (const std::string fault : {"truncate", "close", "reset", "reset-body", "stall", "stall-body", "408",
                                  "429", "429-after", "429-date", "500", "502", "503", "504", "wrong-range",
                                  "ignore-range", "short-range", "chunked-truncate"}) {
    SCOPED_TRACE(fault);
    script("\"" + fault + "\"", fault.starts_with("stall") ? 1.5 : 0);
    events_.clear();
    Client client(options());  // on a connection used before libcurl itself would try again after "close"
    EXPECT_EQ(client.get({.url = url("/files/x.bin"), .range = Range{500, 99'000}}).body,
              bytes_.substr(500, 98'500));
    EXPECT_EQ(client.counters().retries, 1);
    ASSERT_THAT(events_, SizeIs(1));
    EXPECT_THAT(events_[0], AllOf(HasSubstr("/files/x.bin: "), HasSubstr("trying again in")));
    EXPECT_EQ(report()["faults"][fault], 1);
    retries += client.counters().retries;
  }
  EXPECT_EQ(retries, 18);
}

TEST_F(ClientTest, GoesOnFromTheByteReached) {
  script(R"("truncate", "", "truncate", "reset-body")");
  Client client(options());
  const std::string halves = client.get({.url = url("/files/x.bin"), .range = Range{1000, 9000}}).body;
  EXPECT_EQ(halves, bytes_.substr(1000, 8000));
  EXPECT_THAT(ranges(), ElementsAre("bytes=1000-8999", "bytes=5000-8999"));

  script(R"("truncate", "reset-body")");
  EXPECT_EQ(client.get({.url = url("/files/x.bin")}).body, bytes_);
  EXPECT_THAT(ranges(), ElementsAre("", "bytes=50000-", "bytes=75000-"));
  EXPECT_EQ(client.counters().bytes, 108'000);  // none came twice
}

TEST_F(ClientTest, SkipsWhatItHasWhereThereAreNoRanges) {
  script(R"("truncate")");
  Client client(options());
  std::string body;
  client.get({.url = url("/files/x.bin?norange=1"), .sink = [&](std::string_view piece) { body += piece; }});
  EXPECT_EQ(body, bytes_);
  EXPECT_EQ(client.counters().retries, 1);
}

TEST_F(ClientTest, AsksAgainFromTheStartWithoutValidator) {
  server_->control(R"({"scope": "echo", "script": ["truncate"]})");
  Client client(options());
  EXPECT_TRUE(nlohmann::json::accept(client.get({.url = url("/echo")}).body));
  EXPECT_THAT(ranges(), ElementsAre("", ""));
}

TEST_F(ClientTest, ProgressStartsThePatienceAnew) {
  script(R"("truncate", "truncate", "truncate", "truncate", "truncate", "truncate")");
  ClientOptions some = options();
  some.retry.first_wait = 0.4;  // alone it is shorter than the patience, all together are longer
  some.retry.longest_wait = 0.4;
  some.retry.patience = 0.8;
  Client client(some);
  EXPECT_EQ(client.get({.url = url("/files/x.bin")}).body, bytes_);
  EXPECT_EQ(client.counters().retries, 6);
}

ClientOptions with_patience(ClientOptions options, double seconds) {
  options.retry.patience = seconds;
  return options;
}

TEST_F(ClientTest, GivesUpAfterATimeNotACount) {
  Client client(with_patience(options(), 0.5));
  server_->control(R"({"scope": "files", "rate": 1, "kinds": ["503"]})");
  EXPECT_THAT(test::user_error_of([&] { client.get({.url = url("/files/x.bin?Signature=hidden")}); }),
              AllOf(HasSubstr("/files/x.bin: "), HasSubstr("HTTP 503, "), HasSubstr("times in a row"),
                    HasSubstr("later"), Not(HasSubstr("hidden"))));
  EXPECT_GE(client.counters().retries, 9);       // of 0.05 s at most
  EXPECT_THAT(events_, SizeIs(testing::Le(5)));  // 1, 2, 4, 8, 16
  EXPECT_THAT(events_, Not(Contains(HasSubstr("hidden"))));

  server_->control(R"({"scope": "files", "rate": 1, "kinds": ["close"]})");
  EXPECT_THROW(client.get({.url = url("/files/x.bin")}), Unreachable);
  EXPECT_THROW(client.get({.url = url("/files/x.bin"), .patience = 0}), Unreachable);
}

TEST_F(ClientTest, NobodyListens) {
  const Url dead = Url::parse("http://127.0.0.1:9/x?token=hidden");  // the discard port
  Client client(with_patience(options(), 0.1));
  EXPECT_THAT(test::user_error_of([&] { client.get({.url = dead}); }),
              AllOf(HasSubstr("http://127.0.0.1:9/x: "), HasSubstr("times in a row"), HasSubstr("online"),
                    Not(HasSubstr("hidden"))));
}

// Asked for again like what may pass: name servers come and go.
TEST_F(ClientTest, NobodyHasTheName) {
  Client client(with_patience(options(), 0.1));
  EXPECT_THAT(test::user_error_of([&] { client.get({.url = Url::parse("http://nobody.invalid/x")}); }),
              AllOf(HasSubstr("nobody.invalid"), HasSubstr("in a row")));
}

// A server that sends a byte now and then would hold a reader for ever.
TEST_F(ClientTest, WhatIsTooSlowIsAskedForAgain) {
  ClientOptions some = with_patience(options(), 1);
  some.retry.stall_timeout = 0.4;
  Client client(some);
  const Request request{.url = url("/files/x.bin"), .range = Range{0, 50'000}};
  for (const std::string fault : {"slow-head", "slow-body"}) {
    SCOPED_TRACE(fault);
    script("\"" + fault + "\"", 0.1);
    EXPECT_EQ(client.get(request).body, bytes_.substr(0, 50'000));
  }
  EXPECT_EQ(client.counters().too_slow, 2);
  EXPECT_EQ(client.counters().retries, 2);
  // Bytes that come below the least rate are no progress.
  server_->control(R"({"scope": "files", "rate": 1, "kinds": ["slow-body"], "seconds": 0.1})");
  EXPECT_THAT(test::user_error_of([&] { client.get(request); }), HasSubstr("bytes a second"));
  some.retry.least_rate = 0;
  Client lenient(some);
  EXPECT_EQ(lenient.get({.url = url("/files/x.bin"), .range = Range{0, 8}}).body, bytes_.substr(0, 8));
}

// What one answer says wrongly the next may say right.
TEST_F(ClientTest, ADamagedHeadIsAskedForAgain) {
  for (const std::string fault : {"wrong-etag", "wrong-total", "encoded", "long-length", "short-length",
                                  "no-status", "no-location", "bad-location", "nowhere"}) {
    SCOPED_TRACE(fault);
    script("\"truncate\", \"" + fault + "\"");
    Client client(options());
    EXPECT_EQ(client.get({.url = url("/files/x.bin"), .range = Range{500, 99'000}}).body,
              bytes_.substr(500, 98'500));
    EXPECT_GE(client.counters().retries, fault == "long-length" ? 1 : 2);
  }
}

TEST_F(ClientTest, HeadsHaveALimit) {
  script(R"("endless-head")");
  Client client(options());
  EXPECT_THAT(test::user_error_of([&] { client.get({.url = url("/files/x.bin")}); }),
              HasSubstr("a head of at most 262144 bytes"));
}

TEST_F(ClientTest, PermanentAnswersEndAtOnce) {
  Client client(options());
  for (const char* status : {"401", "403", "404", "410"}) {
    script(std::string("\"") + status + "\"");
    try {
      client.get({.url = url("/files/x.bin"), .bearer = "hf_word"});
      ADD_FAILURE() << status;
    } catch (const HttpError& error) {
      EXPECT_EQ(std::to_string(error.status), status);
      EXPECT_THAT(error.what(), AllOf(HasSubstr("/files/x.bin"), HasSubstr(status), HasSubstr("Hint"),
                                      Not(HasSubstr("hf_word"))));
    }
  }
  script("");
  EXPECT_THAT(test::user_error_of([&] {
                client.get({.url = url("/files/x.bin"), .range = Range{100'000, 100'001}});
              }),
              HasSubstr("HTTP 416"));
  EXPECT_EQ(client.counters().retries, 0);
}

TEST_F(ClientTest, ObeysTheServersWait) {
  Client client(options());
  script(R"("429", "429-after", "429-date", "")", 77);
  client.get({.url = url("/files/x.bin")});
  EXPECT_EQ(client.counters().rate_limited, 3);
  EXPECT_GE(client.counters().waited_ms, 600);  // longest_asked, three times
  EXPECT_THAT(events_, SizeIs(2));              // of the first failure and the second: 1, 2, 4, 8 ...

  script(R"("429-after")", 0);
  const int64_t before = client.counters().waited_ms;
  client.get({.url = url("/files/x.bin")});
  EXPECT_LT(client.counters().waited_ms - before, 100);
}

TEST_F(ClientTest, WrongAnswersAreNeverTaken) {
  ClientOptions patient = options();
  patient.retry.patience = 8;
  Client client(patient);
  const Request some{.url = url("/files/x.bin"), .range = Range{1000, 3000}};
  script(R"("wrong-range", "ignore-range", "wrong-range", "ignore-range", "wrong-range")");
  EXPECT_THAT(test::user_error_of([&] { client.get(some); }),
              AllOf(HasSubstr("expected bytes 1000-2999"), HasSubstr("5 times"), HasSubstr("ranges")));
  server_->control(R"({"scope": "files", "rate": 1, "kinds": ["encoded"]})");
  EXPECT_THAT(test::user_error_of([&] { client.get(some); }), HasSubstr("Content-Encoding: gzip"));
  script(R"("truncate", "wrong-etag", "wrong-etag", "wrong-etag", "wrong-etag", "wrong-etag")");
  EXPECT_THAT(test::user_error_of([&] { client.get(some); }), HasSubstr("changed"));
  script(R"("truncate", "wrong-total", "wrong-total", "wrong-total", "wrong-total", "wrong-total")");
  EXPECT_THAT(test::user_error_of([&] { client.get(some); }),
              AllOf(HasSubstr("100000 bytes, as before"), HasSubstr("100001")));
  script(R"("")");
  EXPECT_THAT(
      test::user_error_of([&] { client.get({.url = some.url, .range = some.range, .total_size = 5000}); }),
      HasSubstr("5000 bytes"));
  EXPECT_THAT(
      test::user_error_of([&] { client.get({.url = some.url, .range = some.range, .validator = "\"1\""}); }),
      HasSubstr("version \"1\""));
  EXPECT_THAT(test::user_error_of([&] { client.get({.url = some.url, .max_body = 99'999}); }),
              HasSubstr("at most 99999 bytes"));
}

TEST_F(ClientTest, FollowsRedirectsWithTheTokenAtHomeOnly) {
  Client client(options());
  const auto to = [&](const std::string& target) { return url("/redirect?to=" + percent_encode(target)); };
  const auto authorization = [&](const Url& start) {
    const auto echo = nlohmann::json::parse(client.get({.url = start, .bearer = "hf_word"}).body);
    return echo.value("authorization", "none");
  };
  EXPECT_EQ(authorization(to("/echo")), "Bearer hf_word");
  EXPECT_EQ(authorization(to(server_->other_host() + "/echo")), "none");

  const Response reported = client.get({.url = to("/echo"), .follow = false});
  EXPECT_EQ(reported.status, 302);
  EXPECT_EQ(reported.headers.get("Location"), "/echo");
  EXPECT_EQ(client.get({.url = to("/echo")}).final_url.text, url("/echo").text);
  // The range goes along.
  EXPECT_EQ(client.get({.url = to(server_->other_host() + "/files/x.bin"), .range = Range{7, 9}}).body,
            bytes_.substr(7, 2));
  EXPECT_THAT(test::user_error_of([&] { client.get({.url = to("file:///etc/passwd")}); }),
              HasSubstr("file://"));
}

TEST_F(ClientTest, RedirectsEnd) {
  Client client(options());
  std::string loop = server_->endpoint() + "/echo";
  for (int i = 0; i < 11; ++i) loop = server_->endpoint() + "/redirect?to=" + percent_encode(loop);
  EXPECT_THAT(test::user_error_of([&] { client.get({.url = Url::parse(loop)}); }), HasSubstr("10 redirects"));
}

TEST_F(ClientTest, SinksMayThrow) {
  Client client(options());
  const auto get = [&] {
    client.get({.url = url("/files/x.bin"),
                .sink = [](std::string_view) { throw UserError("disk", "space", "none"); }});
  };
  EXPECT_THAT(test::user_error_of(get), HasSubstr("disk"));
  EXPECT_EQ(client.get({.url = url("/files/x.bin")}).body, bytes_);
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST_F(ClientTest, CancelEndsWaitsAndStalls) {
  script(R"("stall", "429-after")", 30);
  ClientOptions slow = options();
  slow.retry.stall_timeout = slow.retry.longest_asked = 60;
  slow.retry.patience = 600;  // else a wait of 60 s is given up at once
  Client client(slow);
  std::atomic<int> cancelled{0};
  const auto call = [&] {
    EXPECT_THROW(client.get({.url = url("/files/x.bin")}), Cancelled);
    cancelled++;
  };
  std::thread one(call), two(call);
  while (report()["faults"].size() < 2) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const auto start = std::chrono::steady_clock::now();
  client.cancel();
  one.join();
  two.join();
  EXPECT_LT(seconds_since(start), 0.5);
  EXPECT_EQ(cancelled, 2);
  EXPECT_THROW(client.get({.url = url("/files/x.bin")}), Cancelled);
  EXPECT_THROW(client.wait(10), Cancelled);
}

TEST_F(ClientTest, AScopeStopsItsOwnThreadsOnly) {
  script(R"("stall")", 30);
  ClientOptions slow = options();
  slow.retry.stall_timeout = 60;
  Client client(slow);
  std::stop_source owner;
  std::thread one([&] {
    const StopScope scope(owner.get_token());
    EXPECT_THROW(client.get({.url = url("/files/x.bin")}), Cancelled);
    EXPECT_THROW(client.wait(10), Cancelled);
  });
  while (report()["faults"].empty()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  owner.request_stop();
  one.join();
  EXPECT_EQ(client.get({.url = url("/files/x.bin")}).body, bytes_);
}

TEST_F(ClientTest, ConnectionsAreUsedAgain) {
  Client client(options());
  for (int i = 0; i < 20; ++i) client.get({.url = url("/files/x.bin"), .range = Range{i, i + 10}});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i)
        EXPECT_EQ(client.get({.url = url("/files/x.bin"), .range = Range{i, i + 10}}).body,
                  bytes_.substr(static_cast<size_t>(i), 10));
    });
  for (std::thread& thread : threads) thread.join();
  const int connections = report()["connections"];
  EXPECT_LE(connections, 4 + 2 + 1);  // one a thread, spare, the control's
}

}  // namespace
}  // namespace moe::net
