// SPDX-License-Identifier: MIT
#include "train/state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/format.h"
#include "checkpoint/checkpoint.h"
#include "comm/planned.h"
#include "tensor/device.h"

namespace moe::train {
namespace {

// New tokens that a sample's prompt is read in at a time.
constexpr int64_t kPromptChunk = 64;

DType dtype(StoredType type) {
  switch (type) {
    case StoredType::fp32:
      return DType::f32;
    case StoredType::bf16:
      return DType::bf16;
  }
  CHECK(false, "a stored type without a DType");
}

bool by_row(CapacityScope scope) {
  switch (scope) {
    case CapacityScope::rank:
      return false;
    case CapacityScope::row:
      return true;
  }
  CHECK(false, "a scope of capacity without a meaning");
}

NewtonSchulzSteps newton_schulz_steps(const TrainingConfig& training) {
  const auto count = static_cast<int>(training.muon_steps);
  switch (training.muon_coefficients) {
    case MuonCoefficients::polar_express:
      return polar_express_steps(count);
    case MuonCoefficients::quintic:
      return quintic_steps(count);
  }
  CHECK(false, "coefficients of Muon without numbers");
}

int64_t whole_bytes(const std::vector<NamedShard>& parts) {
  return std::accumulate(parts.begin(), parts.end(), int64_t{0},
                         [](int64_t sum, const NamedShard& part) { return sum + part.global.bytes(); });
}

}  // namespace

Arithmetic arithmetic(const TrainingConfig& training) {
  switch (training.mixed_precision) {
    case MixedPrecision::no:
      return {DType::f32, false};
    case MixedPrecision::tf32:
      return {DType::f32, true};
    case MixedPrecision::bf16:
      return {DType::bf16, false};
    case MixedPrecision::fp8:
      return {.type = DType::bf16, .tf32 = false, .fp8 = true};
    case MixedPrecision::fp16:
      return {DType::f16, false};
    case MixedPrecision::automatic:
      CHECK(false, "training.mixed_precision is still auto");
  }
  CHECK(false, "a precision without a type");
}

LossScale loss_scale(const TrainingConfig& training) {
  switch (training.mixed_precision) {
    case MixedPrecision::no:
    case MixedPrecision::tf32:
    case MixedPrecision::bf16:
    case MixedPrecision::fp8:
      return {};
    case MixedPrecision::fp16:
      return {training.loss_scale, training.loss_scale_growth_every};
    case MixedPrecision::automatic:
      CHECK(false, "training.mixed_precision is still auto");
  }
  CHECK(false, "a precision without a loss scale");
}

model::WeightTypes weight_types(const TrainingConfig& training) {
  return {.compute = arithmetic(training).type,
          .master = dtype(training.master_weights),
          .gradient = dtype(training.gradient_type),
          .fp8 = training.mixed_precision == MixedPrecision::fp8,
          .fp8_bf16_layers = training.fp8_bf16_layers};
}

model::MicroBatch micro_batch(const RunConfig& config, int64_t vocabulary) {
  // Logits of a quarter of the tokens at a time: a small part of the activations' memory. Each chunk reads
  // and writes the whole f32 gradient of the embedding, so that on a GPU small ones would cost more than the
  // arithmetic. Of a large micro-batch an eighth is a small part, too.
  const int64_t tokens = config.training.batch_size * config.model.max_seq_len;
  const int64_t head_rows = std::clamp<int64_t>(tokens / 4, 512, std::max<int64_t>(8192, tokens / 8));
  return {.B = config.training.batch_size,
          .T = config.model.max_seq_len,
          .type = arithmetic(config.training).type,
          .vocabulary = vocabulary,
          .head_rows = head_rows,
          .capacity_by_row = by_row(config.distributed.capacity),
          .balance_of_step = of_step(config.distributed.balance_loss),
          .recompute = config.training.recompute};
}

optim::OptimizerConfig optimizer_config(const TrainingConfig& training) {
  return {.eight_bit = eight_bit(training.optimizer),
          .order = training.optimizer_order,
          .beta1 = training.beta1,
          .beta2 = training.beta2,
          .epsilon = training.epsilon,
          .weight_decay = training.weight_decay,
          .cautious_decay = is_cautious(training.weight_decay_mode),
          .embedding_8bit = training.embedding_8bit,
          .router_8bit = training.router_8bit,
          .embedding_rate_scale = training.embedding_lr_scale,
          .head_rate_scale = training.head_lr_scale,
          .router_rate_scale = training.router_lr_scale,
          .norm_rate_scale = training.norm_lr_scale,
          .embedding_decays = training.embedding_decay,
          .router_decays = training.router_decay,
          .muon = {.enabled = has_muon(training.optimizer),
                   .rate_scale = training.muon_lr_scale,
                   .momentum = training.muon_momentum,
                   .first_momentum = training.muon_first_momentum,
                   .momentum_warmup_steps = training.muon_momentum_warmup_steps,
                   .nesterov = training.muon_nesterov,
                   .beta2 = training.muon_beta2,
                   .scale = training.muon_scale,
                   .steps = newton_schulz_steps(training),
                   .type = training.mixed_precision == MixedPrecision::no ? DType::f32 : DType::bf16},
          .seed = static_cast<uint64_t>(training.seed)};
}

optim::Schedule schedule(const TrainingConfig& training) {
  return {.kind = training.lr_schedule,
          .peak = training.learning_rate,
          .ratio = training.min_learning_rate_ratio,
          .warmup_steps = training.warmup_steps,
          .max_steps = training.full_steps > 0 ? training.full_steps : training.max_steps,
          .decay_fraction = training.decay_fraction};
}

TrainingState::TrainingState(const RunConfig& config, int64_t vocabulary, RankGroups& groups, Ops& ops,
                             Arena& arena)
    : weights(config.model, weight_types(config.training), model::Mode::training, arena, groups.sharding()),
      transformer(config.model, micro_batch(config, vocabulary), weights, arena, groups.all_to_all()),
      overlap_transformer(
          groups.overlap_all_to_all() == nullptr
              ? nullptr
              : std::make_unique<model::Transformer>(transformer, *groups.overlap_all_to_all(), arena)),
      replicas(weights, groups),
      optimizer(optimizer_config(config.training), weights.list(), arena, ops),
      average(config.training.ema_decay, weights.list(), arena),
      decoder(config.model, arithmetic(config.training).type, 1, config.model.max_seq_len,
              std::min(kPromptChunk, config.model.max_seq_len), weights, arena, groups.all_to_all()),
      squares_g(arena.allocate("small", DType::f64, {static_cast<int64_t>(optimizer.groups().size())})),
      clip_scale_1(arena.allocate("small", DType::f32, {1})),
      step_guard(config.training.spike_sigma, config.training.spike_window, arena),
      loss_scale(train::loss_scale(config.training)),
      first_micro_step(captured_region(config.training, groups, ops)),
      micro_step(captured_region(config.training, groups, ops)),
      last_micro_step(groups.world().size() == 1 ? nullptr : captured_region(config.training, groups, ops)),
      only_micro_step(captured_region(config.training, groups, ops)),
      balance_scope(config.model.moe_layers() > 0 ? config.distributed.balance_loss : BalanceScope::rank),
      router_bias_rate(static_cast<float>(config.model.router_bias_rate)) {
  switch (balance_scope) {
    case BalanceScope::rank:
      break;
    case BalanceScope::global:
      forward_step = captured_region(config.training, groups, ops);
      first_of_ranks_LE = arena.allocate("small", transformer.sums().first_LE);
      break;
    case BalanceScope::previous_step:  // before the first step, even shares
      if (!arena.planning())
        ops.fill(transformer.shares(), 1.0F / static_cast<float>(config.model.num_experts));
      break;
  }
}

std::vector<std::pair<std::string, std::vector<NamedShard>>> TrainingState::checkpoint_files() const {
  std::vector<std::pair<std::string, std::vector<NamedShard>>> files{
      {checkpoint::kModelFile, weights.stored()}, {checkpoint::kOptimizerFile, optimizer.state()}};
  if (balance_scope == BalanceScope::previous_step)
    files.push_back({checkpoint::kBalanceFile, {model::whole_shard("balance.shares", transformer.shares())}});
  if (average.enabled()) {  // a model like the first file
    std::vector<NamedShard> parts = average.state();
    for (const model::Buffer& buffer : weights.buffers())
      parts.push_back(model::whole_shard(buffer.name, buffer.value));
    files.emplace_back(checkpoint::kAverageFile, std::move(parts));
  }
  return files;
}

int64_t TrainingState::checkpoint_bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, parts] : checkpoint_files()) bytes += whole_bytes(parts);
  return bytes;
}

int64_t plan_training(const RunConfig& config, int64_t vocabulary, int ranks, Device& device, Ops& ops,
                      Arena& planning) {
  CHECK(planning.planning());
  comm::PlannedCommunicator first(ranks);
  RankGroups groups(config.distributed, config.model, first, device, has_muon(config.training.optimizer));
  return TrainingState(config, vocabulary, groups, ops, planning).checkpoint_bytes();
}

std::unique_ptr<CapturedRegion> captured_region(const TrainingConfig& training, RankGroups& groups,
                                                Ops& ops) {
  if (!training.cuda_graph || groups.all_to_all() != nullptr) return std::make_unique<CapturedRegion>();
  return ops.captured_region();
}

std::string describe_layout(const RunConfig& config, int64_t vocabulary, int ranks, Device& device,
                            Ops& ops) {
  const Mesh mesh = mesh_of(config.distributed, ranks);
  if (!mesh.zero1) return "data_parallel: each rank keeps everything";
  const bool experts = config.distributed.layout == ParallelLayout::expert;
  RunConfig everything = config;
  everything.distributed.layout = ParallelLayout::data_parallel;
  Arena here, without;
  plan_training(config, vocabulary, ranks, device, ops, here);
  plan_training(everything, vocabulary, ranks, device, ops, without);
  const auto saved = static_cast<double>(without.used() - here.used());
  return fmt::format(
      "{}: each of {} ranks keeps its part of optimizer states and masters{}: {} {} than all of them",
      experts ? "expert" : "zero1", ranks, experts ? ", and some of the experts" : "",
      format_bytes(std::abs(saved)), saved < 0 ? "more" : "less");
}

std::string memory_table(const Arena& arena) {
  std::string text;
  const auto line = [&](const std::string& name, int64_t bytes) {
    text += fmt::format("  {:<32}{:>12}  {:5.1f} %\n", name, format_bytes(static_cast<double>(bytes)),
                        100.0 * static_cast<double>(bytes) / static_cast<double>(arena.used()));
  };
  for (const auto& [category, bytes] : arena.table()) line(category, bytes);
  line("total", arena.used());
  return text;
}

std::string optimizer_table(const optim::OptimizerSet& optimizer, const TrainingConfig& training) {
  std::string text = fmt::format("  {:<14}{:>8}{:>13}  {:<10}{:<22}{:>10}{:>8}\n", "group", "tensors",
                                 "parameters", "optimizer", "moments", "peak rate", "decay");
  for (const optim::OptimizerGroup& group : optimizer.summary()) {
    const double share = static_cast<double>(group.eight_bit) / static_cast<double>(group.parameters);
    const std::string moments = share == 0   ? "f32"
                                : share == 1 ? "8-bit"
                                             : fmt::format("8-bit ({:.1f} %), f32", 100 * share);
    text += fmt::format("  {:<14}{:>8}{:>13}  {:<10}{:<22}{:>10.2e}{:>8}\n", group.name, group.tensors,
                        format_count(static_cast<double>(group.parameters)), name_of(group.algorithm),
                        moments, training.learning_rate * group.rate_scale, group.weight_decay);
  }
  return text;
}

const char* const kLessMemory =
    "set training.recompute to selective or full, lower training.batch_size (and raise "
    "training.gradient_accumulation_steps to keep the step the same), set training.gradient_type and "
    "training.master_weights to bf16 (with training.mixed_precision bf16), training.optimizer to adamw8bit, "
    "or "
    "lower model.max_seq_len or model.num_experts, or start more ranks (distributed.layout zero1 shares "
    "optimizer "
    "states and masters among them)";

void check_memory(const Arena& plan, const Device& device) {
  if (plan.used() <= device.memory_available()) return;
  throw UserError(
      device.name(),
      fmt::format("{} of free memory for this configuration", format_bytes(static_cast<double>(plan.used()))),
      format_bytes(static_cast<double>(device.memory_available())),
      std::string(kLessMemory) + "; `moe plan` prints where the memory goes");
}

}  // namespace moe::train
