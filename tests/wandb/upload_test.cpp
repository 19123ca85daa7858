// SPDX-License-Identifier: MIT
// Uploading against tests/support/wandb_server.py: every line once and in order, whatever fails. Time is a
// number that the test counts up by what Upload asks to wait; nothing here waits.
#include "wandb/upload.h"

#include <gmock/gmock.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "support/folder.h"
#include "support/hub_server.h"
#include "wandb/sink.h"

namespace moe::wandb {
namespace {

using nlohmann::json;
using ::testing::IsEmpty;

class UploadTest : public ::testing::Test {
 protected:
  UploadTest() {
    settings_.mode = Mode::online;
    settings_.project = "p";
    settings_.name = "a run";
    settings_.folder = folder_.path();
    settings_.base_url = "http://127.0.0.1:" + std::to_string(server_.port());
    settings_.api_key = "0123456789012345678901234567890123456789";
    settings_.run_id = "abc";
    options_.retry.patience = 0;
    client_.emplace(options_);
  }
  void TearDown() override { std::fclose(quiet_); }

  std::unique_ptr<RecordSink> open(bool resumed = false) {
    RunFiles files = RunFiles::open(settings_, folder_.path() / "wandb.json", resumed, 0);
    records_ = files.records();
    return std::make_unique<RecordSink>(settings_, files, RunInfo{settings_text_, {}}, terminal_,
                                        [this] { return unix_ += 1; });
  }
  void rows(RecordSink& sink, int64_t begin, int64_t end) const {
    for (int64_t step = begin; step < end; ++step) {
      metrics::Row row{step, {}};
      row.add("val/loss", 1.0 / static_cast<double>(step + 1)).add("text", "a \"word\"\n");
      sink.write(row);
      sink.told("line of step " + std::to_string(step));
    }
  }
  // Until the upload is done, or its time is up.
  void drive(Upload& upload, double until = 1e9) {
    for (int calls = 0; !upload.done() && now_ < until && calls < 1000; ++calls) now_ += upload.step(now_);
  }
  Upload upload(bool continued = false) { return {settings_, records_, continued, *client_, terminal_}; }
  json report() const { return json::parse(server_.control()); }
  void plan(const json& faults) const { server_.control(faults.dump()); }

  // The service has steps [0, steps) once and in order, and the terminal's lines; nothing forbidden was done.
  void expect_whole(int64_t steps) const {
    const json seen = report();
    EXPECT_THAT(seen["violations"], IsEmpty());
    const json& files = seen["runs"]["abc"]["files"];
    std::vector<int64_t> found;
    for (const auto& line : files["wandb-history.jsonl"])
      found.push_back(json::parse(line.get<std::string>())["_step"]);
    std::vector<int64_t> expected(static_cast<size_t>(steps));
    for (int64_t i = 0; i < steps; ++i) expected[static_cast<size_t>(i)] = i;
    EXPECT_EQ(found, expected);
    EXPECT_EQ(files["output.log"].size(), static_cast<size_t>(steps));
  }

  test::TestFolder folder_;
  test::PythonServer server_{"wandb_server.py"};
  std::FILE* quiet_ = std::fopen("/dev/null", "w");
  Terminal terminal_{quiet_};
  Settings settings_;
  net::ClientOptions options_;
  std::optional<net::Client> client_;
  std::filesystem::path records_;
  std::string settings_text_ = R"({"model":{"d_model":8}})";
  double unix_ = 1'700'000'000, now_ = 0;
};

TEST_F(UploadTest, AWholeRun) {
  auto sink = open();
  rows(*sink, 0, 40);
  metrics::Row alert{39, {}};
  alert.add("alert", "dead experts").add("alert_text", "3 of 8");
  sink->write(alert);
  sink->finish(3);
  Upload up = upload();
  drive(up);
  EXPECT_TRUE(up.complete());
  EXPECT_EQ(up.uploaded(), 40);
  expect_whole(40);
  const json run = report()["runs"]["abc"];
  EXPECT_EQ(run["exitcode"], 3);
  EXPECT_EQ(run["alerts"], json::parse(R"([["dead experts", "step 39: 3 of 8"]])"));
  EXPECT_EQ(run["description"]["displayName"], "a run");
  const json config = json::parse(run["description"]["config"].get<std::string>());
  EXPECT_EQ(config["model"]["value"]["d_model"], 8);
  EXPECT_EQ(config["_wandb"]["value"]["m"], json::parse(R"([{"1":"step","6":[2,3],"7":[]},
      {"1":"val/loss","5":1,"6":[1,3],"7":[1,5]}])"));
  const json first = json::parse(run["files"]["wandb-history.jsonl"][0].get<std::string>());
  EXPECT_EQ(first["val/loss"], 1.0);
  EXPECT_EQ(first["text"], "a \"word\"\n");
  const json summary = json::parse(run["files"]["wandb-summary.json"][0].get<std::string>());
  EXPECT_EQ(summary["val/loss"], json({{"last", 1.0 / 40}, {"min", 1.0 / 40}}));
  EXPECT_TRUE(summary["_wandb"]["runtime"].is_number());
  const json events = json::parse(run["files"]["wandb-events.jsonl"][0].get<std::string>());
  EXPECT_GT(events["system.proc.memory.rssMB"], 0);
}

TEST_F(UploadTest, FaultsWhileItGrows) {
  auto sink = open();
  Upload up = upload();
  plan({{"script",
         {"500", "", "lost", "429", "409", "", "close", "503", "lost", "lost", "409", "409", "", "500"}},
        {"scope", ""}});
  for (int64_t step = 0; step < 200; step += 10) {
    rows(*sink, step, step + 10);
    drive(up, now_ + 20);
  }
  sink->finish(0);
  drive(up);
  EXPECT_TRUE(up.complete());
  expect_whole(200);
  EXPECT_EQ(report()["faults"].size(), 6U);
}

TEST_F(UploadTest, TenMinutesWithoutNetwork) {
  auto sink = open();
  Upload up = upload();
  rows(*sink, 0, 10);
  drive(up, 40);
  plan({{"outage", true}});
  const double begin = now_;
  for (int64_t step = 10; now_ < begin + 600; ++step) {
    rows(*sink, step, step + 1);
    now_ += up.step(now_);
    EXPECT_FALSE(up.done());
    if (step == 500) FAIL() << "back-off is too short";
  }
  const int64_t attempts = report()["faults"]["outage"];
  EXPECT_LT(attempts, 25);  // 2, 4, 8, ... 60 s apart
  plan({{"outage", false}});
  sink->finish(0);
  drive(up);
  EXPECT_TRUE(up.complete());
  EXPECT_THAT(report()["violations"], IsEmpty());
  expect_whole(up.uploaded());
}

// A second process, after one that died before everything was uploaded; it computes three steps again.
TEST_F(UploadTest, TheSameRunGoesOn) {
  {
    auto sink = open();
    Upload up = upload();
    rows(*sink, 0, 20);
    drive(up, 40);
    rows(*sink, 20, 30);
  }
  auto sink = open(true);
  EXPECT_TRUE(sink->files().existed);
  for (int64_t step = 27; step < 30; ++step) {
    metrics::Row again{step, {}};
    again.add("val/loss", 7.0);
    sink->write(again);
  }
  rows(*sink, 30, 50);
  sink->finish(0);
  Upload up = upload(true);
  drive(up);
  EXPECT_TRUE(up.complete());
  expect_whole(50);
}

TEST_F(UploadTest, TheBestIsThatOfAllProcesses) {
  const auto write = [](RecordSink& sink, int64_t step, double loss) {
    metrics::Row row{step, {}};
    row.add("val/loss", loss).add("tasks/lambada/lm_eval/acc", 1 - loss).add("plain", loss);
    sink.write(row);
  };
  {
    auto sink = open();
    write(*sink, 0, 1.0);
    write(*sink, 1, 0.5);
    write(*sink, 2, NAN);
  }
  auto sink = open(true);
  write(*sink, 3, 0.75);
  sink->finish(0);
  Upload up = upload(true);
  drive(up);
  const json summary =
      json::parse(report()["runs"]["abc"]["files"]["wandb-summary.json"][0].get<std::string>());
  EXPECT_EQ(summary["val/loss"], json({{"last", 0.75}, {"min", 0.5}}));
  EXPECT_EQ(summary["tasks/lambada/lm_eval/acc"], json({{"last", 0.25}, {"max", 0.5}}));
  EXPECT_EQ(summary["plain"], 0.75);
}

// A run that goes on with other settings: the service has them at the end, and those that stayed.
TEST_F(UploadTest, SettingsThatChanged) {
  settings_text_ = R"({"model":{"d_model":8},"training":{"learning_rate":0.1}})";
  rows(*open(), 0, 5);
  settings_text_ = R"({"model":{"d_model":8},"training":{"learning_rate":0.2}})";
  for (int start = 0; start < 2; ++start) {  // the second time nothing has changed
    const int64_t before = static_cast<int64_t>(std::filesystem::file_size(records_));
    open(true);
    const int64_t grown = static_cast<int64_t>(std::filesystem::file_size(records_)) - before;
    EXPECT_EQ(grown > 0, start == 0);
  }
  auto sink = open(true);
  rows(*sink, 5, 10);
  sink->finish(0);
  Upload up = upload(true);
  drive(up);
  expect_whole(10);
  const json config = json::parse(report()["runs"]["abc"]["description"]["config"].get<std::string>());
  EXPECT_EQ(config["training"]["value"]["learning_rate"], 0.2);
  EXPECT_EQ(config["model"]["value"]["d_model"], 8);
}

TEST_F(UploadTest, WhatCannotBeMendedIsGivenUp) {
  for (const char* status : {"400", "401", "403", "404", "410", "413", "422", "501"}) {
    SCOPED_TRACE(status);
    auto sink = open();
    rows(*sink, 0, 3);
    plan({{"script", {status}}, {"scope", ""}});
    Upload up = upload();
    drive(up);
    EXPECT_TRUE(up.done());
    EXPECT_FALSE(up.complete());
    std::filesystem::remove_all(folder_.path() / "wandb");
  }
}

TEST_F(UploadTest, Resume) {
  auto first = open();
  rows(*first, 0, 5);
  first->finish(0);
  Upload before = upload();
  drive(before);
  std::filesystem::remove_all(folder_.path() / "wandb");

  // Another folder, the same id.
  auto second = open();
  rows(*second, 5, 8);
  second->finish(0);
  settings_.resume = Resume::never;
  Upload never = upload();
  drive(never);
  EXPECT_FALSE(never.complete());
  settings_.resume = Resume::allow;
  Upload allow = upload();
  drive(allow);
  EXPECT_TRUE(allow.complete());
  expect_whole(8);

  settings_.run_id = "xyz";
  settings_.resume = Resume::must;
  auto third = open();
  Upload must = upload();
  drive(must);
  EXPECT_FALSE(must.complete());
  EXPECT_FALSE(report()["runs"].contains("xyz"));
}

}  // namespace
}  // namespace moe::wandb
