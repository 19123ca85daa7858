// SPDX-License-Identifier: MIT
// Rows read back, curves that stay small without losing a spike, and a page that its data cannot break.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "metrics/jsonl.h"
#include "net/http.h"
#include "report/facts.h"
#include "report/page.h"
#include "report/picture.h"
#include "report/rows.h"
#include "report/run_view.h"
#include "report/server.h"
#include "support/folder.h"

namespace moe::report {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::vector<metrics::Row> parse(const std::string& text, bool whole = true, int64_t* unreadable = nullptr) {
  RowParser parser;
  std::vector<metrics::Row> rows;
  parser.parse(text, whole, [&](const metrics::Row& row) { rows.push_back(row); });
  if (unreadable) *unreadable = parser.unreadable();
  return rows;
}

TEST(RowsTest, WhatTheRecordHolds) {
  metrics::Row row{7, {}};
  row.add("loss", 0.1)
      .add("tokens", 12)
      .add("bad", NAN)
      .add("worse", -INFINITY)
      .add("alert", std::string("x\"\n"));
  row.add("list", std::vector<double>{1, 0.5}).add("table", std::vector<std::vector<double>>{{1, 2}, {3, 4}});
  const std::string line = to_json(row) + "\n";
  const auto rows = parse(line + line);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(to_json(rows[1]) + "\n", line);
}

TEST(RowsTest, OtherLinesAreCounted) {
  int64_t unreadable = 0;
  const auto rows =
      parse("{\"step\":1}\n\nnonsense\n[1]\n{\"loss\":1,\"step\":2}\n{\"step\":3,\"x\":{}}\n{}\n{\"step\":4}",
            true, &unreadable);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[1].step, 4);
  EXPECT_EQ(unreadable, 5);
  EXPECT_EQ(parse("{\"step\":1}\n{\"step\":2}", false).size(), 1U);
}

// Lines after lines of other shapes: what is reused of a row must not show.
TEST(RowsTest, EachLineAlone) {
  const std::vector<std::string> lines = {
      R"({"step":1,"a":1,"b":0.5,"c":[1,2],"d":[[1,2],[3]]})",
      R"({"step":2,"a":0.25,"b":3,"c":[[1],[2]],"d":[4,5,6]})",
      R"({"step":3,"c":-0.5,"b":[],"a":[[]]})",
      R"({"step":4,"a":"NaN","text":"\u00e4","b":[1,"Infinity"]})",
      R"({"step":5,"a":1e-3,"b":1.5E+10,"c":9223372036854775807,"d":18446744073709551615})",
      R"({"step":6})",
      R"({"step":7,"a":1,"b":0.5,"c":[1,2],"d":[[1,2],[3]],"e":2.2250738585072014e-308})",
  };
  std::string all;
  for (const std::string& line : lines) all += line + "\n";
  const auto rows = parse(all);
  ASSERT_EQ(rows.size(), lines.size());
  for (size_t i = 0; i < lines.size(); ++i)
    EXPECT_EQ(json::parse(to_json(rows[i])), json::parse(lines[i])) << lines[i];
}

// None of these is a row; nor is one with a name that is there twice (base/json.h).
TEST(RowsTest, WhatTheQuickReaderLeavesToTheLibrary) {
  for (const char* line :
       {R"({"step":1,"a":01})", R"({"step":1,"a":1.})", R"({"step":1,"a":.5})", R"({"step":1,"a":+1})",
        R"({"step":1,"a":1e})", R"({"step":1,"a":inf})", R"({"step":1,"a":[1,]})",
        R"({"step":1,"a":[[1],2]})", R"({"step":1,"a":1)", R"({"step":1,"a":1}})", R"({"step":1.0,"a":1})",
        R"({"step":1,"a":-})", R"({"step":1,})", R"({"a":1,"step":1})", ""})
    EXPECT_TRUE(parse(std::string(line) + "\n").empty()) << line;
  EXPECT_TRUE(parse("{\"step\":1,\"a\":1,\"a\":2}\n{\"step\":2,\"a\":1,\"a\":2}\n").empty());
}

TEST(RowsTest, AFileThatGrowsAndIsCut) {
  const test::TestFolder folder;
  RowFile file(folder.path() / "metrics.jsonl");
  std::vector<int64_t> steps;
  const auto read = [&] {
    file.read([&] { steps.clear(); }, [&](const metrics::Row& row) { steps.push_back(row.step); });
  };
  read();
  folder.put("metrics.jsonl", "{\"step\":1}\n{\"step\":2}\n{\"st");
  read();
  EXPECT_THAT(steps, testing::ElementsAre(1, 2));
  folder.put("metrics.jsonl", "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");
  read();
  EXPECT_THAT(steps, testing::ElementsAre(1, 2, 3));
  folder.put("metrics.jsonl", "{\"step\":1}\n");
  read();
  EXPECT_THAT(steps, testing::ElementsAre(1));
}

TEST(SeriesTest, KeepsEverySpike) {
  Series series;
  for (int64_t step = 1; step <= 1'000'000; ++step)
    series.add(step, step == 654'321 ? 99 : step == 5 ? -7 : 1);
  EXPECT_LE(series.points().size(), Series::kMost);
  EXPECT_GE(series.points().size(), Series::kMost / 2);
  double low = 0, high = 0, sum = 0;
  int64_t count = 0, before = 0;
  for (const auto& point : series.points()) {
    low = std::min(low, point.low), high = std::max(high, point.high), sum += point.sum, count += point.count;
    EXPECT_GT(point.step, before);
    before = point.step;
  }
  EXPECT_EQ(low, -7);
  EXPECT_EQ(high, 99);
  EXPECT_EQ(count, 1'000'000);
  EXPECT_EQ(sum, 1'000'000 + 98 - 8);
  EXPECT_EQ(before, 1'000'000);
}

TEST(SeriesTest, NumbersThatAreNone) {
  Series series;
  series.add(1, NAN);
  series.add(2, 3);
  EXPECT_EQ(series.points()[0].count, 0);
  EXPECT_EQ(series.points()[1].mean(), 3);
}

RunView some_run() {
  RunView run("</script><b>", R"({"model":{"d_model":8}})");
  for (int64_t step = 1; step <= 3000; ++step) {
    metrics::Row row{step, {}};
    row.add("loss", step == 3 ? NAN : 5.0 / static_cast<double>(step))
        .add("layers/entropy", std::vector<double>{1, 0.5});
    row.add("layers/expert_counts", std::vector<std::vector<double>>{{1, 3}, {0, 0}});
    run.add(row);
  }
  metrics::Row alert{9, {}};
  alert.add("alert", std::string("loss_spike")).add("alert_text", std::string("</script>"));
  run.add(alert);
  run.add(metrics::Row{9, {}}.add("sample", std::string("<b>")));
  return run;
}

TEST(PageTest, DataIsJsonThatCannotEndItsScript) {
  const std::string text = data_json({some_run()});
  EXPECT_EQ(text.find('<'), std::string::npos);
  const json run = json::parse(text)["runs"][0];
  EXPECT_EQ(run["name"], "</script><b>");
  EXPECT_EQ(run["last_step"], 3000);
  EXPECT_EQ(run["config"]["model"]["d_model"], 8);
  EXPECT_EQ(run["series"]["loss"]["step"].size(), run["series"]["loss"]["mean"].size());
  EXPECT_EQ(run["series"]["loss"]["high"][0], 5.0);
  EXPECT_EQ(run["maps"]["layers/entropy"]["rows"], 2);
  EXPECT_EQ(run["load"]["values"][0], json::parse("[0.5,1.5,0,0]"));
  EXPECT_EQ(run["notes"][0]["kind"], "loss_spike");
  EXPECT_EQ(run["texts"], json::parse(R"([{"step":9,"kind":"sample","text":"<b>"}])"));
  const std::string html = page({some_run()});
  EXPECT_NE(html.find(text.substr(0, 60)), std::string::npos);
  EXPECT_NE(html.find("Chart.js v3"), std::string::npos);
  for (const char* mark : {"/*STYLE*/", "/*DATA*/", "/*SCRIPT*/", "/*CHART*/", "src=\"http", "href=\"http"})
    EXPECT_EQ(html.find(mark), std::string::npos) << mark;
}

// The figures of the cards, and what a page shows of a run before its first step.
TEST(FactsTest, AreThoseOfTheRecord) {
  RunView run("run", R"({"training":{"max_steps":40,"batch_size":2},"model":{"n_layers":3,"d_model":8,)"
                     R"("num_experts":4,"top_k":2,"max_seq_len":16}})");
  EXPECT_TRUE(facts(run).empty());
  const auto value = [](const std::vector<Fact>& all, const std::string& label) {
    const auto found = std::ranges::find_if(all, [&](const Fact& fact) { return fact.label == label; });
    return found == all.end() ? "none" : found->value;
  };
  EXPECT_EQ(value(outline(run), "model"), "3 layers of 8, 4 experts, 2 at a time");
  EXPECT_EQ(value(outline(run), "batch of a rank"), "2 x 16 tokens");
  for (int64_t step = 1; step <= 30; ++step) {
    metrics::Row row{step, {}};
    row.add("loss", step <= 10 ? 9.0 : 2.0).add("tokens", 32 * step).add("step_seconds", 0.5);
    if (step == 1) row.add("device", "a GPU").add("parameters", 5000).add("active_parameters", 3000);
    run.add(row);
  }
  for (const double loss : {2.5, 2.25, 2.375})
    run.add(metrics::Row{30, {}}.add("validation_loss", loss).add("validation_bits_per_byte", loss / 2));
  run.set_status({.state = "running", .text = "running"});
  const auto all = facts(run);
  EXPECT_EQ(value(all, "step of 40"), "30");
  EXPECT_EQ(value(all, "training loss, last 20 steps"), "2.000");
  EXPECT_EQ(value(all, "validation loss (best 2.250, step 30)"), "2.375");
  EXPECT_EQ(value(all, "bits per byte (best 1.125, step 30)"), "1.188");
  EXPECT_EQ(value(all, "tokens/s, mean"), "64");
  EXPECT_EQ(value(all, "time in steps"), "15.0 s");
  EXPECT_EQ(value(all, "time left, about"), "5.00 s");
  EXPECT_EQ(value(all, "parameters, 3.00 K active"), "5.00 K");
  EXPECT_EQ(value(all, "device"), "a GPU");
  run.set_status({.state = "ended", .text = "complete"});
  EXPECT_EQ(value(facts(run), "time left, about"), "none");
  const json page = json::parse(data_json({run}))["runs"][0];
  EXPECT_EQ(page["status"], json::parse(R"({"state":"ended","text":"complete"})"));
  EXPECT_EQ(page["facts"][0], json::parse(R"(["step of 40","30"])"));
  EXPECT_EQ(page["outline"].size(), 3U);
}

TEST(SeriesTest, SmoothingIsUnbiasedFromTheFirstPoint) {
  Series series;
  for (int64_t step = 1; step <= 100; ++step) series.add(step, step == 50 ? NAN : step <= 60 ? 4.0 : 8.0);
  const auto curve = smoothed(series, 0.5);
  ASSERT_EQ(curve.size(), 99U) << "without the point that has no value";
  EXPECT_DOUBLE_EQ(curve[0].value, 4);
  EXPECT_DOUBLE_EQ(curve[58].value, 4);
  EXPECT_NEAR(curve[59].value, 6, 1e-9);
  EXPECT_NEAR(curve[60].value, 7, 1e-9);
  EXPECT_EQ(curve[98].step, 100);
  Series few;
  for (int64_t step = 1; step < 40; ++step) few.add(step, step == 20 ? 9 : 1);
  EXPECT_EQ(smoothed(few, 0.9)[19].value, 9);
}

TEST(PageTest, TheSliderStandsWhereItIsAsked) {
  EXPECT_NE(page({some_run()}, 0.5).find("LIVE = false, SMOOTH = 0.5;"), std::string::npos);
}

// Width and height stand behind the signature and the head of the first chunk.
int64_t height_of(const std::string& png) {
  int64_t height = 0;
  for (size_t i = 20; i < 24; ++i) height = height << 8 | static_cast<uint8_t>(png[i]);
  return height;
}

TEST(PictureTest, IsSmoothedAndHasACardForEachRun) {
  const test::TestFolder folder;
  const auto picture = [&](const std::vector<RunView>& runs, double smooth) {
    write_picture(folder.path() / "x.png", runs, false, smooth);
    return read_file(folder.path() / "x.png");
  };
  RunView run("noisy", "");
  for (int64_t step = 1; step <= 100; ++step)
    run.add(metrics::Row{step, {}}.add("loss", step % 2 == 0 ? 2.0 : 3.0).add("step_seconds", 1.0));
  const std::string plain = picture({run}, 0);
  EXPECT_NE(plain, picture({run}, 0.9));
  EXPECT_EQ(plain, picture({run}, 0));
  const int64_t three = height_of(picture({run, run, run}, 0));
  EXPECT_EQ(height_of(picture({run, run}, 0)), three) << "three cards fit side by side";
  EXPECT_GT(height_of(picture({run, run, run, run}, 0)), three) << "a second line of cards";
  EXPECT_GT(height_of(picture({RunView("not begun", "")}, 0)), 600);
}

TEST(PictureTest, IsAPng) {
  const test::TestFolder folder;
  write_picture(folder.path() / "x.png", {some_run(), RunView("empty", "")}, true);
  const std::string bytes = read_file(folder.path() / "x.png");
  EXPECT_TRUE(bytes.starts_with("\x89PNG\r\n\x1a\n"));
  EXPECT_GT(bytes.size(), 10'000U);
}

// One connection that says all of `bytes`, and what comes back until the server closes.
class Talk {
 public:
  explicit Talk(int port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~Talk() { ::close(socket_); }
  Talk(const Talk&) = delete;
  Talk& operator=(const Talk&) = delete;

  void say(const std::string& bytes) const { ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  std::string hear() const {
    std::string all;
    std::array<char, 4096> buffer;
    for (ssize_t count = 0; (count = ::recv(socket_, buffer.data(), buffer.size(), 0)) > 0;)
      all.append(buffer.data(), static_cast<size_t>(count));
    return all;
  }
  bool connected() const { return connected_; }

 private:
  int socket_;
  bool connected_ = false;
};

std::string ask(int port, const std::string& request) {
  const Talk talk(port);
  talk.say(request);
  return talk.hear();
}

// What follows a request is never taken for another one.
TEST(ServerTest, AConnectionCarriesOneRequest) {
  const Server server(0, "<script>the page</script>", [] { return "{\"secret\":1}"; });
  const std::string host = "Host: localhost:" + std::to_string(server.port()) + "\r\n";
  const std::string inner = "GET /data.json HTTP/1.1\r\n" + host + "\r\n";
  const std::string length = "Content-Length: " + std::to_string(inner.size()) + "\r\n\r\n" + inner;
  const auto ask_for = [&](const std::string& request) { return ask(server.port(), request); };
  EXPECT_THAT(ask_for("POST / HTTP/1.1\r\nHost: evil.example\r\n" + length),
              AllOf(StartsWith("HTTP/1.1 403 "), HasSubstr("Connection: close"), Not(HasSubstr("secret"))));
  EXPECT_THAT(ask_for("POST / HTTP/1.1\r\n" + host + length),
              AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("Allow: GET, HEAD"), Not(HasSubstr("secret"))));
  EXPECT_THAT(ask_for("GET / HTTP/1.1\r\n" + host + length),
              AllOf(StartsWith("HTTP/1.1 200 "), HasSubstr("the page"), Not(HasSubstr("secret"))));
  EXPECT_THAT(ask_for(inner), HasSubstr("secret"));
}

TEST(ServerTest, RefusesWhatIsNoRequestOfAPage) {
  const Server server(0, "the page", [] { return "{}"; });
  const std::string host = "Host: localhost:" + std::to_string(server.port()) + "\r\n";
  const auto status_of = [&](const std::string& request) {
    return ask(server.port(), request + "\r\n").substr(9, 3);
  };
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n" + host), "200");
  EXPECT_EQ(status_of("HEAD /?x HTTP/1.0\r\n" + host), "200");
  EXPECT_EQ(status_of("GET /../etc/passwd HTTP/1.1\r\n" + host), "404");
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n"), "403");
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n" + host + "Host: evil\r\n"), "400");
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n" + host + " folded: x\r\n"), "400");
  EXPECT_EQ(status_of("GET /\r\n" + host), "400");
  EXPECT_EQ(status_of("DELETE / HTTP/1.1\r\n" + host), "405");
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n" + host + "X: " + std::string(9000, 'x') + "\r\n"), "431");
}

TEST(ServerTest, ThePageRunsItsOwnScriptsOnly) {
  const Server server(0, "<script>one</script><script>two</script>", [] { return "{}"; });
  const std::string request =
      "GET / HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(server.port()) + "\r\n\r\n";
  const std::string first = ask(server.port(), request);
  const size_t at = first.find("script-src 'nonce-");
  ASSERT_NE(at, std::string::npos);
  const std::string nonce = first.substr(at + 18, 32);
  EXPECT_THAT(first,
              AllOf(HasSubstr("<script nonce=\"" + nonce + "\">one"), HasSubstr("default-src 'none'"),
                    HasSubstr("<script nonce=\"" + nonce + "\">two"), HasSubstr("frame-ancestors 'none'")));
  EXPECT_THAT(ask(server.port(), request), Not(HasSubstr(nonce)));
}

// More of them than there is room for, each with half a request.
TEST(ServerTest, SlowClientsHoldNobodyUp) {
  const Server server(0, "the page", [] { return "{}"; });
  std::vector<std::unique_ptr<Talk>> slow;
  for (size_t i = 0; i < Server::kMostConnections + 20; ++i) {
    slow.push_back(std::make_unique<Talk>(server.port()));
    ASSERT_TRUE(slow.back()->connected());
    slow.back()->say("GET / HT");
  }
  const std::string request =
      "GET / HTTP/1.1\r\nHost: localhost:" + std::to_string(server.port()) + "\r\n\r\n";
  for (int i = 0; i < 10; ++i) EXPECT_THAT(ask(server.port(), request), HasSubstr("the page"));
  EXPECT_EQ(slow.front()->hear(), "");  // closed: it was the oldest
}

TEST(ServerTest, AnswersThisMachineOnly) {
  ::setenv("no_proxy", "*", 1);
  int calls = 0;
  const Server server(0, "the page", [&] { return "{\"calls\":" + std::to_string(calls++ / 2) + "}"; });
  net::ClientOptions options;
  options.retry.patience = 0;
  net::Client client(options);
  EXPECT_EQ(client.get({.url = net::Url::parse(server.url())}).body, "the page");
  const net::Url data = net::Url::parse(server.url() + "data.json");
  const net::Response first = client.get({.url = data});
  EXPECT_EQ(first.body, "{\"calls\":0}");
  const std::string tag = first.headers.get("ETag");
  try {
    client.get({.url = data, .headers = {{"If-None-Match", tag}}});
    ADD_FAILURE() << "sent the same data again";
  } catch (const net::HttpError& error) {
    EXPECT_EQ(error.status, 304);
  }
  try {
    client.get({.url = data, .headers = {{"Host", "evil.example"}}});
    ADD_FAILURE() << "answered another host's name";
  } catch (const net::HttpError& error) {
    EXPECT_EQ(error.status, 403);
  }
  EXPECT_THROW(Server(server.port(), "", [] { return ""; }), UserError);
}

}  // namespace
}  // namespace moe::report
