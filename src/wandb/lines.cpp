// SPDX-License-Identifier: MIT
#include "wandb/lines.h"

#include <fmt/format.h>
#include <wandb_record.pb.h>

#include <algorithm>
#include <ctime>

#include "base/json.h"
#include "base/lines.h"
#include "base/version.h"
#include "wandb/history.h"

namespace moe::wandb {
namespace {

double seconds_of(const pb::Timestamp& time) {
  return static_cast<double>(time.seconds()) + 1e-9 * time.nanos();
}

// {"key":value,...}; items with a nested key are left out (only the summary has one).
template <class Items>
std::string object_of(const Items& items, const std::string& prefix = "") {
  std::string text;
  for (const pb::Item& item : items) {
    if (item.key().empty()) continue;
    text +=
        fmt::format("{}{}:{}", text.empty() ? "" : ",", json_string(prefix + item.key()), item.value_json());
  }
  return text;
}

// "2006-01-02T15:04:05.000000 text", in UTC.
std::string log_line(const pb::Timestamp& time, const std::string& text) {
  const auto seconds = static_cast<std::time_t>(time.seconds());
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char stamp[32];
  std::strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:06} {}", stamp, time.nanos() / 1000, text);
}

std::vector<int> set_options(const pb::MetricOptions& options) {
  std::vector<int> numbers;
  if (options.step_sync()) numbers.push_back(1);
  if (options.hidden()) numbers.push_back(2);
  if (options.defined()) numbers.push_back(3);
  return numbers;
}

std::vector<int> set_summary(const pb::MetricSummary& summary) {
  std::vector<int> numbers;
  if (summary.min()) numbers.push_back(1);
  if (summary.max()) numbers.push_back(2);
  if (summary.last()) numbers.push_back(5);
  return numbers;
}

}  // namespace

LineReader::LineReader(const std::filesystem::path& records, const LineCounts& there)
    : reader_(records), there_(there) {}

void LineReader::read(int64_t bytes) {
  while (bytes_ < bytes && !exit_code_) {
    const auto text = reader_.next();
    if (!text) return;
    pb::Record record;
    if (record.ParseFromString(*text)) take(record);
  }
}

void LineReader::taken() {
  for (Lines* lines : {&history, &events, &output}) {
    lines->first = lines->end();
    lines->content.clear();
  }
  summary.reset();
  bytes_ = 0;
}

void LineReader::add(Lines& lines, int64_t there, std::string line) {
  if (lines.end() < there && lines.content.empty()) {
    ++lines.first;
    return;
  }
  bytes_ += static_cast<int64_t>(line.size());
  lines.content.push_back(std::move(line));
}

void LineReader::take_config(const pb::Config& config) {
  for (const pb::ConfigItem& item : config.update()) {
    const auto known = std::find_if(config_.begin(), config_.end(),
                                    [&](const auto& section) { return section.first == item.key(); });
    if (known == config_.end())
      config_.emplace_back(item.key(), item.value_json());
    else
      known->second = item.value_json();
  }
}

void LineReader::take(const pb::Record& record) {
  if (record.has_run()) {
    const pb::Run& run = record.run();
    start_ = seconds_of(run.start_time());
    run_ = {run.run_id(),
            run.project(),
            run.entity(),
            run.display_name(),
            run.notes(),
            run.run_group(),
            run.job_type(),
            run.host(),
            "",
            {run.tags().begin(), run.tags().end()}};
    take_config(run.config());
  } else if (record.has_config()) {
    take_config(record.config());
    ++revisions_;
  } else if (record.has_history()) {
    add(history, there_.history, fmt::format("{{{}}}", object_of(record.history().item())));
  } else if (record.has_stats()) {
    const double now = seconds_of(record.stats().timestamp());
    add(events, there_.events,
        fmt::format(R"({{"_wandb":true,"_timestamp":{},"_runtime":{},{}}})", json_number(now),
                    json_number(now - start_), object_of(record.stats().item(), "system.")));
  } else if (record.has_output_raw()) {
    const pb::OutputRaw& raw = record.output_raw();
    std::string_view rest = raw.line();
    while (!rest.empty()) add(output, there_.output, log_line(raw.timestamp(), std::string(take_line(rest))));
  } else if (record.has_summary()) {
    for (const pb::Item& item : record.summary().update()) {
      (item.key().empty() ? summary_runtime_ : summary_[item.key()]) = item.value_json();
    }
    std::string text;
    for (const auto& [key, json] : summary_) text += fmt::format("{}:{},", json_string(key), json);
    summary = fmt::format(R"({{{}"_wandb":{{"runtime":{}}}}})", text,
                          summary_runtime_.empty() ? "0" : summary_runtime_);
  } else if (record.has_metric()) {
    metrics_.push_back({record.metric().name(), record.metric().step_metric(),
                        set_options(record.metric().options()), set_summary(record.metric().summary())});
    ++revisions_;
  } else if (record.has_alert()) {
    alerts.emplace_back(record.alert().title(), record.alert().text());
  } else if (record.has_exit()) {
    exit_code_ = record.exit().exit_code();
  }
}

// Definitions by the numbers of their fields; a step metric by its place in the list, from 1.
std::string LineReader::metrics_json() const {
  OrderedJson list = OrderedJson::array();
  for (const Definition& metric : metrics_) {
    OrderedJson entry = {{"1", metric.name}};
    const auto step = std::find_if(metrics_.begin(), metrics_.end(),
                                   [&](const Definition& other) { return other.name == metric.step_metric; });
    if (step != metrics_.end()) entry["5"] = step - metrics_.begin() + 1;
    entry["6"] = metric.options;
    entry["7"] = metric.summary;
    list.push_back(entry);
  }
  return list.dump();
}

RunDescription LineReader::description() const {
  RunDescription run = run_;
  std::string config;
  for (const auto& [key, json] : config_)
    config += fmt::format(R"({}:{{"value":{}}},)", json_string(key), json);
  const std::string version = json_string(program_version());
  run.config_json = fmt::format(R"({{{}"_wandb":{{"value":{{"t":{{"12":{}}},"m":{},"cli_version":{}}}}}}})",
                                config, version, metrics_json(), version);
  return run;
}

}  // namespace moe::wandb
