// SPDX-License-Identifier: MIT
#include "cli/plan_facts.h"

#include <utility>

#include "base/json.h"
#include "train/micro_batches.h"
#include "train/state.h"

namespace moe::cli {
namespace {

OrderedJson json_of(const PlannedLayout& one, double tokens, double free) {
  OrderedJson json{{"layout", name_of(one.config.distributed.layout)},
                   {"name", one.name},
                   {"chosen", one.chosen},
                   {"error", one.trouble.empty() ? OrderedJson() : OrderedJson(one.trouble)}};
  if (!one.trouble.empty()) return json;
  json["memory_bytes"] = static_cast<int64_t>(one.memory);
  json["fits"] = one.memory <= free;
  if (!one.time) return json;
  json["step_seconds"] = one.time->total();
  json["tokens_per_second"] = tokens / one.time->total();
  return json;
}

OrderedJson json_of(const Arena& memory) {
  OrderedJson parts = OrderedJson::array();
  for (const auto& [name, bytes] : memory.table()) parts.push_back({{"name", name}, {"bytes", bytes}});
  return parts;
}

}  // namespace

int64_t PlanFacts::tokens() const {
  return config.training.max_tokens > 0 ? config.training.max_tokens
                                        : config.tokens_of_step(ranks) * config.training.max_steps;
}

PlanFacts::PlanFacts(const train::RunConfig& settings, int on_ranks, const train::GpuRates* named,
                     backend::Backend& backend)
    : config(settings),
      ranks(on_ranks),
      gpu(named != nullptr ? named : train::find_gpu(backend.device->name())),
      where(named == nullptr ? backend.description : named->name),
      free(named != nullptr ? named->memory : static_cast<double>(backend.device->memory_available())) {
  Device& device = *backend.device;
  const train::Room room{free, named != nullptr || backend.on_gpu};
  train::set_micro_batches(config, ranks, room, device, *backend.ops);
  config.set_last_step(ranks);
  parameters = model::count_parameters(config.model);
  flops = model::flops_per_token(config.model, config.model.max_seq_len);
  if (ranks > 1 || gpu != nullptr) layouts = plan_layouts(config, ranks, gpu, device, *backend.ops);
  checkpoint = static_cast<double>(
      train::plan_training(config, config.vocabulary(), ranks, device, *backend.ops, memory));
}

std::string plan_json(const PlanFacts& facts) {
  const train::TrainingConfig& training = facts.config.training;
  const auto step = static_cast<double>(facts.config.tokens_of_step(facts.ranks));
  OrderedJson layouts = OrderedJson::array();
  for (const PlannedLayout& one : facts.layouts) layouts.push_back(json_of(one, step, facts.free));
  return OrderedJson{{"moe_plan", 1},
                     {"parameters", facts.parameters.total},
                     {"active_parameters", facts.parameters.active},
                     {"ranks", facts.ranks},
                     {"tokens_per_step", facts.config.tokens_of_step(facts.ranks)},
                     {"micro_batch",
                      {{"rows", training.batch_size},
                       {"row_tokens", facts.config.model.max_seq_len},
                       {"per_step", training.gradient_accumulation_steps}}},
                     {"steps", training.max_steps},
                     {"tokens", facts.tokens()},
                     {"flops_per_token", facts.flops.total()},
                     {"precision", name_of(training.mixed_precision)},
                     {"device", facts.where},
                     {"memory",
                      {{"bytes", facts.memory.used()},
                       {"free_bytes", static_cast<int64_t>(facts.free)},
                       {"fits", facts.fits()},
                       {"parts", json_of(facts.memory)}}},
                     {"checkpoint_bytes", static_cast<int64_t>(facts.checkpoint)},
                     {"layouts", layouts}}
             .dump(1) +
         "\n";
}

}  // namespace moe::cli
