// SPDX-License-Identifier: MIT
#include "train/resume.h"

#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "base/secrets.h"
#include "text/gpt2_tokenizer.h"
#include "train/state.h"

namespace moe::train {
namespace {

constexpr const char* kOlder = "delete this checkpoint folder to use an older one";
constexpr const char* kStream = "a resumed run goes on in the same stream of text";
constexpr const char* kMoments = "saved moments are not converted between 8 and 32 bits";
constexpr const char* kWeights = "saved weights are not converted between f32 and bf16";

// missing: what a run did that was saved by a version without the setting.
struct Fixed {
  const char *section, *key, *reason, *missing = nullptr;
};
// What a cursor or the saved moments depend on.
constexpr Fixed kFixed[] = {
    {"training", "seed", kStream},          {"data", "shuffle", kStream},
    {"data", "shuffle_window_mb", kStream}, {"data", "validation_fraction", kStream},
    {"data", "packing", kStream, "concat"}, {"data", "streams", kStream},
    {"training", "optimizer", kMoments},    {"training", "embedding_8bit", kMoments},
    {"training", "router_8bit", kMoments},  {"training", "master_weights", kWeights, "fp32"},
};

void expect_same(const std::string& where, const std::string& setting, const OrderedJson& saved,
                 const OrderedJson& now, const char* reason) {
  if (saved == now) return;
  throw UserError(where, fmt::format("{} {}, as when it was saved", setting, quote(saved)), quote(now),
                  fmt::format("{}; restore the setting, or start a new run", reason));
}

// another_text: nothing depends on the order of the one before.
void check_fixed(const std::string& where, const OrderedJson& saved, const OrderedJson& now,
                 bool another_text) {
  for (const auto& [section, key, reason, missing] : kFixed) {
    if (another_text && reason == kStream) continue;
    const OrderedJson &before = saved.at(section), &setting = now.at(section).at(key);
    // Version 0.1 had one stream; the cursor tells when it is not enough.
    const bool any = std::string_view(key) == "streams" && !before.contains(key);
    const OrderedJson value = any                                           ? setting
                              : missing != nullptr && !before.contains(key) ? OrderedJson(missing)
                                                                            : before.at(key);
    expect_same(where, fmt::format("{}.{}", section, key), value, setting, reason);
  }
  // Tensors of a checkpoint that are there where a setting is above 0.
  const auto expect_there = [&](const char* section, const char* key, const char* reason) {
    const auto above_0 = [&](const OrderedJson& config) {
      return OrderedJson(config.at(section).value(key, 0.0) > 0);
    };
    expect_same(where, fmt::format("{}.{} above 0:", section, key), above_0(saved), above_0(now), reason);
  };
  expect_there("training", "muon_beta2", "NorMuon's moments of the rows are saved, or are not");
  const auto biased = [](const OrderedJson& config) {
    const OrderedJson& model = config.at("model");
    return OrderedJson(model.value("router_bias", false) || model.value("router_bias_rate", 0.0) > 0);
  };
  expect_same(where, "model.router_bias, or router_bias_rate above 0:", biased(saved), biased(now),
              "the biases are tensors of the checkpoint; router_bias with a rate of 0 lets them stay");
  if (another_text) return;
  expect_same(where, "data.rules", saved.at("data").value("rules", 1), now.at("data").at("rules"), kStream);
  // best_fit numbers the rows of a window once all are cut.
  if (now.at("data").at("packing") == "best_fit")
    expect_same(where, "model.max_seq_len", saved.at("model").at("max_seq_len"),
                now.at("model").at("max_seq_len"), kStream);
  // Without text of its own, validation takes a part of the training text away.
  const auto separate = [](const OrderedJson& config) {
    return OrderedJson(!config.at("data").at("validation_source").empty());
  };
  expect_same(where, "data.validation_source set:", separate(saved), separate(now), kStream);
}

// Whether the text is another one though it should not be; that is refused but with data.check_text false.
bool is_repaired(const std::string& where, const std::string& saved, const data::Source& text,
                 const data::DataConfig& data) {
  if (data::is_identity_of(saved, text)) return false;
  const std::string begin_anew = fmt::format(
      "data.stage={} begins this text at its start, and keeps weights, moments and steps", data.stage + 1);
  if (data.check_text)
    throw UserError(where, "the text this run was started on", "another (bytes, files or splitting differ)",
                    "restore data.source. " + begin_anew +
                        "; after a repair, data.check_text=false goes on at the same place");
  const int64_t before = data::units_of_identity(saved);
  if (before > 0 && before != text.units())
    throw UserError(where, fmt::format("a text of {} units, as it was", before),
                    fmt::format("{}", text.units()), "the order is another then. " + begin_anew);
  return true;
}

// Both are objects of sections. A setting that one of them lacks belongs to another version of the program.
std::vector<std::string> differences(const OrderedJson& saved, const OrderedJson& now) {
  std::vector<std::string> lines;
  for (const auto& [section, settings] : now.items()) {
    for (const auto& [key, value] : settings.items()) {
      const OrderedJson before =
          saved.contains(section) ? saved.at(section).value(key, OrderedJson()) : OrderedJson();
      if (!before.is_null() && before != value)
        lines.push_back(fmt::format("{}.{} {} -> {}", section, key, quote(before), quote(value)));
    }
  }
  return lines;
}

optim::Schedule saved_schedule(const OrderedJson& saved) {
  TrainingConfig training;
  const auto take = [&](const char* key, auto& value) { value = saved.value(key, value); };
  std::string name(name_of(training.lr_schedule));
  take("lr_schedule", name);
  // A schedule of a later version is unknown here; its rate counts as constant.
  training.lr_schedule = value_named<optim::Schedule::Kind>(name).value_or(optim::Schedule::Kind::constant);
  take("learning_rate", training.learning_rate);
  take("min_learning_rate_ratio", training.min_learning_rate_ratio);
  take("warmup_steps", training.warmup_steps);
  take("max_steps", training.max_steps);
  take("decay_fraction", training.decay_fraction);
  return schedule(training);
}

std::vector<double> numbers(const JsonFields& json, const char* name) {
  std::vector<double> values;
  for (const Json& value : json.list(name)) {
    if (!value.is_number()) json.refuse(name, "numbers", quote(value));
    values.push_back(value.get<double>());
  }
  return values;
}

StepGuardState read_step_guard(const JsonFields& json) {
  StepGuardState state{
      .losses = numbers(json, "losses"), .norms = numbers(json, "norms"), .skipped = json.whole("skipped")};
  if (state.losses.size() != state.norms.size())
    json.refuse("norms", fmt::format("{} numbers, as losses has", state.losses.size()),
                std::to_string(state.norms.size()));
  return state;
}

// The overrides with which a run goes on at this learning rate, whatever its schedule was.
std::string keep_rate(double rate) {
  return fmt::format("training.lr_schedule=constant training.learning_rate={:.6g}", rate);
}

// A longer cosine is another curve: at the step where a short one has ended it is still high. That may be
// what is wanted.
std::string jump(const optim::Schedule& saved, const optim::Schedule& now, int64_t step) {
  constexpr double kNotice = 0.01;
  const double before = optim::learning_rate(saved, step), next = optim::learning_rate(now, step);
  if (std::abs(next - before) <= kNotice * before) return "";
  return fmt::format("the next step has {:.3g}, where the saved settings had {:.3g}. To keep that: {}", next,
                     before, keep_rate(before));
}

}  // namespace

std::string longer_schedule(const optim::Schedule& rates, int64_t step) {
  if (rates.kind == optim::Schedule::Kind::constant) return "";
  return fmt::format("; the longer schedule has another rate here: {} keeps this one",
                     keep_rate(optim::learning_rate(rates, step)));
}

std::string state_json(int64_t step, const data::Cursor& cursor, const std::string& source,
                       const RunConfig& config, const LossScale& loss_scale,
                       const StepGuardState& step_guard) {
  OrderedJson json;
  json["step"] = step;
  json["cursor"] = Json(cursor);
  json["source"] = source;
  const text::TokenizerFacts tokenizer = config.data.tokenizer.facts();
  json["tokenizer"] = {{"name", tokenizer.name},
                       {"fingerprint", text::fingerprint_text(tokenizer.fingerprint)}};
  if (loss_scale.dynamic()) {
    const LossScaleState& state = loss_scale.state();
    json["loss_scale"] = {
        {"value", state.value}, {"good_steps", state.good_steps}, {"skipped", state.skipped}};
  }
  if (step_guard.skipped > 0 || !step_guard.losses.empty())
    json["step_guard"] = {
        {"skipped", step_guard.skipped}, {"losses", step_guard.losses}, {"norms", step_guard.norms}};
  json["config"] = parse_ordered_json("settings", config.json());
  return json.dump(1);
}

SavedState read_state(const std::string& where, std::string_view state) {
  const Json parsed = parse_json(where, state, kOlder);
  const JsonFields json(where, parsed, kOlder);
  SavedState saved;
  saved.step = json.whole("step");
  saved.cursor = json.at("cursor").get<data::Cursor>();
  saved.source = json.text("source");
  saved.config = json.inside("config").value().dump(1);
  saved.tokenizer = text::Gpt2Tokenizer::kFacts.name;
  saved.fingerprint = text::fingerprint_text(text::Gpt2Tokenizer::kFacts.fingerprint);
  if (json.has("tokenizer")) {
    const JsonFields tokenizer = json.inside("tokenizer");
    saved.tokenizer = tokenizer.text("name");
    saved.fingerprint = tokenizer.text("fingerprint");
  }
  if (json.has("loss_scale")) {
    const JsonFields scale = json.inside("loss_scale");
    saved.loss_scale =
        LossScaleState{scale.number("value"), scale.whole("good_steps"), scale.whole("skipped")};
  }
  if (json.has("step_guard")) saved.step_guard = read_step_guard(json.inside("step_guard"));
  return saved;
}

void expect_tokenizer(const std::string& where, const SavedState& saved,
                      const text::TokenizerFacts& tokenizer) {
  const std::string found = text::fingerprint_text(tokenizer.fingerprint);
  if (found == saved.fingerprint) return;
  throw UserError(where,
                  fmt::format("data.tokenizer {} (fingerprint {})", saved.tokenizer, saved.fingerprint),
                  fmt::format("{} (fingerprint {})", tokenizer.name, found),
                  "the weights mean the tokens of their own tokenizer; the run's folder tokenizer/ has it");
}

ResumePoint resume_point(const std::string& where, std::string_view state, const data::Source& text,
                         const RunConfig& config) {
  SavedState saved = read_state(where, state);
  expect_tokenizer(where, saved, config.data.tokenizer.facts());
  saved.config = without_secrets(saved.config);  // version 0.1 saved them
  ResumePoint point{.step = saved.step,
                    .cursor = saved.cursor,
                    .loss_scale = saved.loss_scale,
                    .step_guard = saved.step_guard,
                    .changed = {},
                    .rate = {}};
  if (config.training.max_tokens == 0 && config.training.max_steps < saved.step)
    throw UserError("training.max_steps", fmt::format("at least {}, the steps that are done", saved.step),
                    std::to_string(config.training.max_steps),
                    "to go on, raise it; to go back, resume a copy of an older checkpoint");
  try {
    const OrderedJson before = parse_ordered_json(where, saved.config, kOlder),
                      now = parse_ordered_json("settings", config.json());
    if (!saved.source.empty()) {
      const auto stage = before.at("data").value("stage", int64_t{1});
      if (config.data.stage < stage)
        throw UserError("data.stage", fmt::format("at least {}, that of the checkpoint", stage),
                        std::to_string(config.data.stage));
      point.another_text = config.data.stage > stage;
      if (point.another_text)
        point.cursor = saved.cursor.next_text();
      else
        point.repaired_text = is_repaired(where, saved.source, text, config.data);
      check_fixed(where, before, now, point.another_text);
    }
    point.changed = differences(before, now);
    // With a ramp, the place in the schedule is not the number of steps.
    if (saved.step > 0 && config.training.ramp().constant())
      point.rate = jump(saved_schedule(before.at("training")), schedule(config.training), saved.step);
    return point;
  } catch (const Json::exception& error) {
    throw UserError(where, "the state of a run", error.what(), kOlder);
  }
}

}  // namespace moe::train
