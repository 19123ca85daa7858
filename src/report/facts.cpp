// SPDX-License-Identifier: MIT
#include "report/facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/format.h"
#include "base/json.h"

namespace moe::report {
namespace {

constexpr int64_t kRecent = 20;  // steps: one alone says little of the loss

const Series* series_of(const RunView& run, const std::string& name) {
  const auto found = run.series().find(name);
  return found == run.series().end() ? nullptr : &found->second;
}

std::optional<double> last_of(const RunView& run, const std::string& name) {
  const Series* series = series_of(run, name);
  return series != nullptr && std::isfinite(series->last()) ? std::optional(series->last()) : std::nullopt;
}

double sum_of(const RunView& run, const std::string& name) {
  double sum = 0;
  if (const Series* series = series_of(run, name))
    for (const Series::Point& point : series->points()) sum += point.sum;
  return sum;
}

class Facts {
 public:
  void add(std::string label, std::string value) { all_.push_back({std::move(label), std::move(value)}); }
  std::vector<Fact> take() { return std::move(all_); }

 private:
  std::vector<Fact> all_;
};

std::optional<Json> settings_of(const RunView& run) {
  return run.config_json().empty() ? std::nullopt : try_parse_json(run.config_json());
}

// settings: {"section": {"key": value}}. Null where there is no such value.
Json setting(const std::optional<Json>& settings, const char* section, const char* key) {
  if (!settings || !settings->is_object()) return nullptr;
  const auto found = settings->find(section);
  if (found == settings->end() || !found->is_object()) return nullptr;
  return found->value(key, Json());
}

int64_t whole(const Json& value) {
  return value.is_number() ? value.get<int64_t>() : 0;
}

// The mean of the last values, at least kRecent of them where there are so many.
void add_recent_loss(const RunView& run, Facts& facts) {
  const Series* series = series_of(run, "loss");
  if (series == nullptr) return;
  double sum = 0;
  int64_t count = 0;
  for (auto point = series->points().rbegin(); point != series->points().rend() && count < kRecent; ++point)
    sum += point->sum, count += point->count;
  if (count == 0) return;
  facts.add(count > 1 ? fmt::format("training loss, last {} steps", count) : "training loss",
            fmt::format("{:.3f}", sum / static_cast<double>(count)));
}

void add_lowest(const RunView& run, const std::string& name, const std::string& label, Facts& facts) {
  const Series* series = series_of(run, name);
  if (series == nullptr || !std::isfinite(series->last())) return;
  double low = std::numeric_limits<double>::infinity();
  int64_t step = 0;
  for (const Series::Point& point : series->points())
    if (point.count > 0 && point.low < low) low = point.low, step = point.step;
  const bool was_better = fmt::format("{:.3f}", low) != fmt::format("{:.3f}", series->last());
  facts.add(was_better ? fmt::format("{} (best {:.3f}, step {})", label, low, step) : label,
            fmt::format("{:.3f}", series->last()));
}

void add_model(const RunView& run, Facts& facts) {
  const auto all = last_of(run, "parameters"), active = last_of(run, "active_parameters");
  if (!all) return;
  if (active && *active < *all)
    facts.add(fmt::format("parameters, {} active", format_count(*active)), format_count(*all));
  else
    facts.add("parameters", format_count(*all));
}

}  // namespace

std::vector<Fact> facts(const RunView& run) {
  Facts facts;
  if (run.series().empty()) return {};
  const int64_t steps = whole(setting(settings_of(run), "training", "max_steps"));
  facts.add(steps > 0 ? fmt::format("step of {}", steps) : "step", fmt::format("{}", run.last_step()));
  add_recent_loss(run, facts);
  add_lowest(run, "validation_loss", "validation loss", facts);
  add_lowest(run, "validation_bits_per_byte", "bits per byte", facts);
  const double seconds = sum_of(run, "step_seconds");
  const auto tokens = last_of(run, "tokens");
  if (tokens && seconds > 0) facts.add("tokens/s, mean", format_count(*tokens / seconds));
  if (seconds > 0) facts.add("time in steps", format_duration(seconds));
  const auto step_seconds = last_of(run, "step_seconds");
  if (run.status().state == "running" && step_seconds && steps > run.last_step() && run.last_step() > 0)
    facts.add("time left, about", format_duration(seconds / static_cast<double>(run.last_step()) *
                                                  static_cast<double>(steps - run.last_step())));
  if (tokens) facts.add("tokens", format_count(*tokens));
  if (const auto mfu = last_of(run, "mfu"))
    facts.add("of the peak (MFU)", fmt::format("{:.1f} %", 100 * *mfu));
  if (const auto dead = last_of(run, "dead_experts"); dead && *dead > 0)
    facts.add("dead experts, last step", fmt::format("{}", *dead));
  add_model(run, facts);
  if (const auto device = run.texts().find("device"); device != run.texts().end())
    facts.add("device", device->second.text);
  if (!run.notes().empty()) facts.add("alerts", fmt::format("{}", run.notes().size()));
  return facts.take();
}

std::vector<Fact> outline(const RunView& run) {
  const auto settings = settings_of(run);
  if (!settings) return {};
  Facts facts;
  const int64_t experts = whole(setting(settings, "model", "num_experts"));
  std::string model = fmt::format("{} layers of {}", whole(setting(settings, "model", "n_layers")),
                                  whole(setting(settings, "model", "d_model")));
  if (experts > 0)
    model += fmt::format(", {} experts, {} at a time", experts, whole(setting(settings, "model", "top_k")));
  facts.add("model", model);
  facts.add("steps", fmt::format("{}", whole(setting(settings, "training", "max_steps"))));
  const Json batch = setting(settings, "training", "batch_size"),
             length = setting(settings, "model", "max_seq_len");
  facts.add("batch of a rank", fmt::format("{} x {} tokens", whole(batch), whole(length)));
  const Json rate = setting(settings, "training", "learning_rate");
  if (rate.is_number()) facts.add("learning rate", fmt::format("{:.3g}", rate.get<double>()));
  const Json source = setting(settings, "data", "source");
  if (source.is_array() && !source.empty() && source.front().is_string())
    facts.add("text", source.front().get<std::string>() +
                          (source.size() > 1 ? fmt::format(" and {} more", source.size() - 1) : ""));
  return facts.take();
}

}  // namespace moe::report
