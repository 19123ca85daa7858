// SPDX-License-Identifier: MIT
#include "wandb/sink.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <wandb_record.pb.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/host.h"
#include "base/json.h"
#include "base/version.h"
#include "metrics/shown.h"
#include "wandb/history.h"

namespace moe::wandb {
namespace {

using metrics::Best;

constexpr double kSampleEvery = 15;  // seconds between samples of the system, and between summaries
constexpr const char* kStepMetric = "step";

void set_time(pb::Timestamp* timestamp, double seconds) {
  timestamp->set_seconds(static_cast<int64_t>(std::floor(seconds)));
  timestamp->set_nanos(static_cast<int32_t>(1e9 * (seconds - std::floor(seconds))));
}

std::string system_name() {
  utsname names{};
  return uname(&names) == 0 ? fmt::format("{} {} {}", names.sysname, names.release, names.machine) : "";
}

void fill_environment(pb::Environment& environment, const RunInfo& info, double now) {
  environment.set_os(system_name());
  environment.set_host(host_name());
  environment.set_program("moe");
  set_time(environment.mutable_started_at(), now);
  std::error_code ignored;
  environment.set_executable(std::filesystem::read_symlink("/proc/self/exe", ignored).string());
  for (const std::string& argument : info.arguments) environment.add_args(argument);
  environment.set_cpu_count(std::thread::hardware_concurrency());
  environment.set_cpu_count_logical(std::thread::hardware_concurrency());
}

}  // namespace

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

RecordSink::RecordSink(const Settings& settings, RunFiles files, const RunInfo& info, Terminal& terminal,
                       std::function<double()> clock)
    : files_(std::move(files)),
      terminal_(terminal),
      clock_(std::move(clock)),
      backlog_(
          files_.records().string(), "records",
          [this](std::string_view record) { return writer_->append(record); }, terminal),
      start_(clock_()),
      last_sample_(start_),
      config_json_(info.config_json) {
  if (files_.existed) {
    const int64_t end = read_what_is_there();
    writer_ = std::make_unique<RecordWriter>(files_.records(), end);
  } else {
    writer_ = std::make_unique<RecordWriter>(files_.records());
  }
  if (records_ == 0)
    begin(settings, info);
  else
    record_changes();
  write_files_for_people();
}

// A run that broke off leaves its file without an Exit record: Weights & Biases shows it as crashed.
RecordSink::~RecordSink() {
  if (!finished_) flush_step();
  backlog_.finish();
}

// Where to go on: at the end, before an Exit record. What was written must not be written again.
int64_t RecordSink::read_what_is_there() {
  RecordReader reader(files_.records());
  int64_t end = 0;
  double runtime = 0;
  // A power loss may damage what was written last: the run goes on before it. A file that begins with
  // something else is none of ours.
  const auto next = [&]() -> std::optional<std::string> {
    try {
      return reader.next();
    } catch (const UserError& error) {
      if (end == 0) throw;
      terminal_.warning(fmt::format("{}; the run goes on before it", error.what()));
      return std::nullopt;
    }
  };
  while (const auto bytes = next()) {
    pb::Record record;
    if (!record.ParseFromString(*bytes))
      throw UserError(fmt::format("{}, byte {}", files_.records().string(), end),
                      "a record of Weights & Biases", "something else",
                      "remove the file wandb.json of the run: it then goes on in a new folder");
    if (record.has_exit()) break;
    records_ = record.num();
    end = reader.position();
    if (record.has_metric()) defined_.insert(record.metric().name());
    for (const pb::ConfigItem& item : (record.has_run() ? record.run().config() : record.config()).update())
      sections_[item.key()] = item.value_json();
    if (!record.has_history()) continue;  // a summary says again what the history has
    for (const pb::Item& item : record.history().item()) {
      summarise(item.key(), item.value_json());
      if (item.key() == "_runtime") runtime = std::strtod(item.value_json().c_str(), nullptr);
    }
    last_step_ = std::max(last_step_, record.history().step().num());
  }
  start_ -= runtime;
  return end;
}

void RecordSink::begin(const Settings& settings, const RunInfo& info) {
  pb::Record header;
  const std::string version = program_version();
  header.mutable_header()->mutable_version_info()->set_producer(version.substr(version.find(' ') + 1));
  header.mutable_header()->mutable_version_info()->set_min_consumer("0.40.0");
  append(header);

  pb::Record record;
  pb::Run& run = *record.mutable_run();
  run.set_run_id(files_.id);
  run.set_entity(settings.entity);
  run.set_project(settings.project);
  run.set_run_group(settings.group);
  run.set_job_type(settings.job_type);
  run.set_display_name(settings.name);
  run.set_notes(settings.notes);
  for (const std::string& tag : settings.tags) run.add_tags(tag);
  run.set_host(host_name());
  set_time(run.mutable_start_time(), start_);
  const auto sections = parse_ordered_json("settings", info.config_json);
  for (const auto& [name, values] : sections.items()) {
    pb::ConfigItem& item = *run.mutable_config()->add_update();
    item.set_key(name);
    item.set_value_json(values.dump());
  }
  append(record);

  pb::Record environment;
  fill_environment(*environment.mutable_environment(), info, start_);
  append(environment);
  define(kStepMetric);
}

// The service merges these into the settings of the run.
void RecordSink::record_changes() {
  pb::Record record;
  const auto sections = parse_ordered_json("settings", config_json_);
  for (const auto& [name, values] : sections.items()) {
    if (sections_[name] == values.dump()) continue;
    pb::ConfigItem& item = *record.mutable_config()->add_update();
    item.set_key(name);
    item.set_value_json(values.dump());
  }
  if (record.has_config()) append(record);
}

void RecordSink::append(pb::Record& record) {
  record.set_num(records_ + 1);
  record.mutable_info()->set_stream_id(files_.id);
  if (backlog_.add(record.SerializeAsString())) ++records_;
}

// Curves are drawn over our step, which is no curve itself. The summary of a loss has its lowest value, too.
void RecordSink::define(const std::string& key) {
  if (!defined_.insert(key).second) return;
  pb::Record record;
  pb::Metric& metric = *record.mutable_metric();
  metric.set_name(key);
  metric.mutable_options()->set_defined(true);
  if (key == kStepMetric) {
    metric.mutable_options()->set_hidden(true);
  } else {
    metric.set_step_metric(kStepMetric);
    metric.mutable_options()->set_step_sync(true);
  }
  if (const Best best = metrics::best_of(key); best != Best::none) {
    metric.mutable_summary()->set_min(best == Best::lowest);
    metric.mutable_summary()->set_max(best == Best::highest);
    metric.mutable_summary()->set_last(true);
  }
  append(record);
}

// As wandb itself writes the summary of a metric that was defined so: {"last":2,"min":1}.
void RecordSink::summarise(const std::string& key, const std::string& json) {
  const Best best = metrics::best_of(key);
  const double value = best == Best::none ? NAN : std::strtod(json.c_str(), nullptr);
  if (std::isfinite(value)) {
    const auto known = best_.emplace(key, value).first;
    known->second = best == Best::lowest ? std::min(known->second, value) : std::max(known->second, value);
  }
  const auto known = best_.find(key);
  summary_[key] = known == best_.end()
                      ? json
                      : fmt::format(R"({{"last":{},"{}":{}}})", json, best == Best::lowest ? "min" : "max",
                                    json_number(known->second));
}

void RecordSink::write(const metrics::Row& row) {
  if (row.find("alert") != nullptr) return alert(row);
  if (row.step <= last_step_) return;
  if (row.step != step_) flush_step();
  step_ = row.step;
  for (const auto& [name, value] : row.values) {
    Entry entry = to_entry(name, value);
    const bool there =
        std::any_of(items_.begin(), items_.end(), [&](const auto& item) { return item.first == entry.key; });
    if (there) continue;  // "tokens" is in the row of training and in that of validation
    if (entry.number) define(entry.key);
    items_.emplace_back(std::move(entry.key), std::move(entry.json));
  }
  if (clock_() - last_sample_ >= kSampleEvery) {
    last_sample_ = clock_();
    sample_system();
    write_summary();
  }
}

void RecordSink::alert(const metrics::Row& row) {
  const auto text = [&](std::string_view name) {
    const metrics::Row::Value* value = row.find(name);
    const auto* string = value ? std::get_if<std::string>(value) : nullptr;
    return string ? *string : std::string();
  };
  pb::Record record;
  pb::Alert& alert = *record.mutable_alert();
  alert.set_title(text("alert"));
  alert.set_text(fmt::format("step {}: {}", row.step, text("alert_text")));
  alert.set_level("WARN");
  append(record);
}

void RecordSink::flush_step() {
  if (step_ < 0) return;
  const double now = clock_();
  items_.insert(items_.end(), {{kStepMetric, std::to_string(step_)},
                               {"_step", std::to_string(step_)},
                               {"_runtime", json_number(now - start_)},
                               {"_timestamp", json_number(now)}});
  pb::Record record;
  pb::History& history = *record.mutable_history();
  history.mutable_step()->set_num(step_);
  for (auto& [key, json] : items_) {
    pb::Item& item = *history.add_item();
    item.set_key(key);
    item.set_value_json(json);
    summarise(key, json);
  }
  append(record);
  last_step_ = step_;
  step_ = -1;
  items_.clear();
}

void RecordSink::write_summary() {
  if (summary_.empty()) return;
  pb::Record record;
  for (const auto& [key, json] : summary_) {
    pb::Item& item = *record.mutable_summary()->add_update();
    item.set_key(key);
    item.set_value_json(json);
  }
  pb::Item& item = *record.mutable_summary()->add_update();
  item.add_nested_key("_wandb");
  item.add_nested_key("runtime");
  item.set_value_json(std::to_string(static_cast<int64_t>(runtime())));
  append(record);
}

void RecordSink::sample_system() {
  pb::Record record;
  pb::Stats& stats = *record.mutable_stats();
  set_time(stats.mutable_timestamp(), clock_());
  for (const auto& [key, value] : system_.sample()) {
    pb::Item& item = *stats.add_item();
    item.set_key(key);
    item.set_value_json(json_number(value));
  }
  append(record);
}

void RecordSink::told(const std::string& text) {
  pb::Record record;
  pb::OutputRaw& output = *record.mutable_output_raw();
  output.set_output_type(1);  // of standard error each line would be marked as an error
  set_time(output.mutable_timestamp(), clock_());
  output.set_line(valid_utf8(text) + "\n");
  append(record);
  told_ += text + "\n";
}

// As wandb leaves them beside the records of an online run. The records are what counts.
void RecordSink::write_files_for_people() {
  try {
    std::string yaml;
    const auto sections = parse_ordered_json("settings", config_json_);
    for (const auto& [name, values] : sections.items())  // JSON is YAML
      yaml += fmt::format("{}:\n  value: {}\n", name, values.dump());
    write_file_atomically(files_.file("config.yaml"), yaml);
    std::string summary;
    for (const auto& [key, json] : summary_)
      summary += fmt::format("{}{}: {}", summary.empty() ? "{" : ",\n", json_string(key), json);
    if (!summary.empty()) write_file_atomically(files_.file("wandb-summary.json"), summary + "}\n");
    const std::string before = files_.existed && std::filesystem::exists(files_.file("output.log"))
                                   ? read_file(files_.file("output.log"))
                                   : "";
    if (!told_.empty()) write_file_atomically(files_.file("output.log"), before + told_);
  } catch (const UserError& error) {
    if (!std::exchange(warned_, true)) terminal_.warning(error.what());
  }
}

void RecordSink::finish(int exit_code) {
  flush_step();
  sample_system();
  write_summary();
  pb::Record record;
  record.mutable_exit()->set_exit_code(exit_code);
  record.mutable_exit()->set_runtime(static_cast<int32_t>(runtime()));
  append(record);
  backlog_.finish();
  write_files_for_people();
  finished_ = true;
}

}  // namespace moe::wandb
