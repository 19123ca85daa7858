// SPDX-License-Identifier: MIT
#include "cli/compare_arms.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/precision.h"
#include "cli/presets.h"
#include "text/tokenizer.h"
#include "train/text_of_run.h"

namespace moe::cli {
namespace {

namespace fs = std::filesystem;

// Of the section data: how fast the text comes, not which.
constexpr std::array<std::string_view, 8> kSpeedOfText{
    "num_workers", "read_threads", "prefetch_batches",         "hub_cache_gb",
    "cache_dir",   "check_text",   "network_patience_minutes", "network_least_kb_per_second"};
constexpr const char* kHint = "arms see the same batches: give all of them the same value";

[[noreturn]] void refuse(const Arm& arm, const std::string& setting, const std::string& expected,
                         const std::string& found) {
  throw UserError(fmt::format("{} of {}", setting, arm.name), expected + ", as the first arm", found, kHint);
}

void expect_same_text(const Arm& first, const Arm& arm) {
  data::DataConfig one = first.config.data, other = arm.config.data;
  Fields ours, theirs;
  one.describe(ours);
  other.describe(theirs);
  for (const Field& field : ours) {
    const Field& their = *theirs.find(field.name());
    const bool speed = std::ranges::find(kSpeedOfText, field.name()) != kSpeedOfText.end();
    if (field.name() == "tokenizer") continue;  // it may have two places
    if (!speed && field.value() != their.value())
      refuse(arm, "data." + field.name(), to_yaml(field.value()), to_yaml(their.value()));
  }
  if (one.tokenizer.facts().fingerprint != other.tokenizer.facts().fingerprint)
    refuse(arm, "data.tokenizer", std::string(one.tokenizer.facts().name),
           std::string(other.tokenizer.facts().name));
}

void expect_comparable(const Arm& first, const Arm& arm) {
  const auto expect = [&](const char* setting, int64_t wanted, int64_t found) {
    if (wanted != found) refuse(arm, setting, std::to_string(wanted), std::to_string(found));
  };
  expect_same_text(first, arm);
  expect("model.max_seq_len", first.config.model.max_seq_len, arm.config.model.max_seq_len);
  expect("tokens in a step (training.batch_size x training.gradient_accumulation_steps x model.max_seq_len)",
         first.config.tokens_of_step(1), arm.config.tokens_of_step(1));
}

void name_apart(std::vector<Arm>& arms) {
  const auto same = [&](const Arm& arm) { return std::ranges::count(arms, arm.name, &Arm::name) > 1; };
  std::vector<bool> numbered;
  numbered.reserve(arms.size());
  for (const Arm& arm : arms) numbered.push_back(same(arm));
  for (size_t i = 0; i < arms.size(); ++i)
    if (numbered[i]) arms[i].name += fmt::format("-{}", i + 1);
}

// The settings of a file of arms, whatever version wrote it.
train::RunConfig read_settings(const std::string& where, const std::string& json) {
  train::RunConfig config;
  auto sections = config.sections();
  read_config_text(json, where, sections);
  return config;
}

// As they are after writing and reading: a file has no secrets.
train::RunConfig as_written(const train::RunConfig& config) {
  return read_settings("settings", config.json());
}

}  // namespace

std::vector<Arm> load_arms(const std::vector<fs::path>& files, const std::vector<fs::path>& base,
                           const std::vector<std::string>& overrides, const fs::path& folder) {
  std::vector<Arm> arms;
  for (const fs::path& file : files) {
    std::vector<fs::path> all = base;
    all.push_back(file);
    Arm arm{name_of_configurations({file}), train::RunConfig::load(read_configurations(all), overrides)};
    settle_precision(arm.config);
    arm.config.data.require_text();
    arm.config.check_trainable(true);
    train::expect_named_files(arm.config);
    if (arm.config.data.validation_source.empty() && arm.config.data.validation_fraction == 0)
      throw UserError("data.validation_fraction", "text to evaluate on", "0",
                      "set data.validation_source or data.validation_fraction");
    if (!arm.config.training.ramp().constant())
      throw UserError("training.batch_ramp of " + file.string(), "none: steps of one size in all arms",
                      fmt::format("{}", fmt::join(arm.config.training.batch_ramp, ", ")),
                      "compare with training.batch_ramp=[]");
    arm.config.set_last_step(1);
    arms.push_back(std::move(arm));
  }
  name_apart(arms);
  for (Arm& arm : arms) {
    expect_comparable(arms.front(), arm);
    train::TrainingConfig& training = arm.config.training;
    training.eval_tokens = arms.front().config.tokens_of_evaluation(1);
    training.seed = arms.front().config.training.seed;
    training.max_tokens = training.warmup_tokens = training.max_epochs = 0;
    training.max_minutes = 0;
    training.output_dir = fs::absolute(folder).lexically_normal().string();
  }
  return arms;
}

void set_length(train::RunConfig& config, int64_t steps, int64_t validations) {
  train::TrainingConfig& training = config.training;
  if (steps < training.max_steps) {
    const double share = static_cast<double>(steps) / static_cast<double>(training.max_steps);
    for (int64_t* warmup : {&training.warmup_steps, &training.muon_momentum_warmup_steps})
      *warmup = std::llround(std::floor(static_cast<double>(*warmup) * share));
  }
  training.max_steps = steps;
  training.eval_every = std::max<int64_t>(1, steps / validations);
  config.validate();
}

train::RunConfig run_of(const Arm& arm, int64_t k) {
  train::RunConfig config = arm.config;
  config.training.seed += k;
  config.training.run_name = fmt::format("{}-seed{}", arm.name, config.training.seed);
  return config;
}

std::vector<std::string> setting_differences(const train::RunConfig& config, const train::RunConfig& other) {
  train::RunConfig one = config, two = other;
  two.training.output_dir = one.training.output_dir;
  two.training.run_name = one.training.run_name;
  return config_differences(one.sections(), two.sections());
}

bool ArmsFile::exists() const {
  return fs::exists(path_);
}

void ArmsFile::remove() const {
  std::error_code ignored;
  fs::remove(path_, ignored);
  fs::remove(path_.parent_path(), ignored);  // only if empty
}

void ArmsFile::write(const std::vector<Arm>& arms, const std::string& length) const {
  OrderedJson list = OrderedJson::array();
  for (const Arm& arm : arms)
    list.push_back({{"name", arm.name}, {"config", parse_ordered_json("settings", arm.config.json())}});
  make_folders(path_.parent_path(), "name another folder with -o");
  write_file_atomically(path_, OrderedJson{{"length", length}, {"arms", list}}.dump(1) + "\n");
}

void ArmsFile::take_lengths(std::vector<Arm>& arms, const std::string& length, int64_t validations) const {
  const std::string where = path_.string(), hint = "name another folder with -o";
  const Json json = parse_json(where, read_file(path_), hint);
  const JsonFields file(where, json, hint);
  if (file.text("length") != length)
    throw UserError(where, file.text("length") + ", as the comparison was begun", length, hint);
  const Json& saved = file.list("arms");
  if (saved.size() != arms.size())
    throw UserError(where, fmt::format("{} arms, as the comparison was begun", saved.size()),
                    std::to_string(arms.size()), hint);
  for (size_t i = 0; i < arms.size(); ++i) {
    const JsonFields one(where, saved[i], hint);
    if (one.text("name") != arms[i].name)
      throw UserError(where, fmt::format("the arm {}, as the comparison was begun", one.text("name")),
                      arms[i].name, hint);
    const train::RunConfig before = read_settings(where, one.inside("config").value().dump(1));
    set_length(arms[i].config, before.training.max_steps, validations);
    const auto differences = setting_differences(before, as_written(arms[i].config));
    if (!differences.empty())
      throw UserError(fmt::format("{}: arm {}", where, arms[i].name),
                      "the settings that the comparison was begun with", differences.front(), hint);
  }
}

}  // namespace moe::cli
