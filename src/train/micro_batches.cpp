// SPDX-License-Identifier: MIT
#include "train/micro_batches.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "train/state.h"

namespace moe::train {
namespace {

constexpr double kShareOfFree = 0.9;  // the rest: workspaces, and what other programs take meanwhile
// docs/benchmarks.md, "Micro-batches": what a GPU and a CPU gain from more.
constexpr int64_t kTokensOfGpu = 262144, kTokensOfCpu = 4096;

void set(RunConfig& config, int64_t batch_size, int64_t rows) {
  config.training.batch_size = batch_size;
  config.training.gradient_accumulation_steps = rows / batch_size;
}

bool allowed_and_fits(const RunConfig& config, int ranks, double bytes, Device& device, Ops& ops) {
  try {
    config.validate_micro_batches();
    config.check_trainable(false);
  } catch (const UserError&) {
    return false;
  }
  Arena plan;
  plan_training(config, config.vocabulary(), ranks, device, ops, plan);
  return static_cast<double>(plan.used()) <= bytes;
}

}  // namespace

void set_micro_batches(RunConfig& config, int ranks, const Room& room, Device& device, Ops& ops) {
  TrainingConfig& training = config.training;
  if (training.global_batch_size == 0) return;
  const int64_t rows = training.global_batch_size / ranks;
  const std::string found = std::to_string(training.global_batch_size);
  if (rows * ranks != training.global_batch_size)
    throw UserError("training.global_batch_size", fmt::format("a multiple of the {} ranks", ranks), found);
  if (training.batch_size > 0) {
    if (rows % training.batch_size != 0)
      throw UserError("training.global_batch_size",
                      fmt::format("a multiple of training.batch_size ({}) on each of {} ranks",
                                  training.batch_size, ranks),
                      found, "training.batch_size=auto takes a divisor");
    set(config, training.batch_size, rows);
  } else {
    const int64_t most = (room.on_gpu ? kTokensOfGpu : kTokensOfCpu) / config.model.max_seq_len;
    for (int64_t b = std::clamp<int64_t>(most, 1, rows); b > 0; --b) {
      if (rows % b != 0) continue;
      set(config, b, rows);
      if (allowed_and_fits(config, ranks, kShareOfFree * room.free_bytes, device, ops)) break;
    }
  }
  config.validate_micro_batches();
  config.check_trainable(false);
}

void set_micro_batches(RunConfig& config, comm::Communicator& ranks, bool on_gpu, Device& device, Ops& ops) {
  if (config.training.global_batch_size == 0) return;
  const std::vector<int64_t> free = ranks.gather(device.memory_available());
  const Room room{static_cast<double>(std::ranges::min(free)), on_gpu};
  set_micro_batches(config, ranks.size(), room, device, ops);
}

std::string micro_batch_words(const RunConfig& config, int ranks) {
  const TrainingConfig& training = config.training;
  std::vector<std::string> apart;  // what would be another with other micro-batches
  if (config.model.moe_layers() > 0) {
    if (config.model.capacity_factor > 0 && config.distributed.capacity == CapacityScope::rank)
      apart.emplace_back("capacity");
    if (config.model.aux_loss_weight > 0 && config.distributed.balance_loss == BalanceScope::rank)
      apart.emplace_back("balance loss");
  }
  const std::string counted = apart.empty() || training.global_batch_size == 0
                                  ? ""
                                  : fmt::format("; {} over the {} tokens of one", fmt::join(apart, " and "),
                                                training.batch_size * config.model.max_seq_len);
  return fmt::format("{} micro-batch{} of {} x {}{}{}", training.gradient_accumulation_steps,
                     training.gradient_accumulation_steps == 1 ? "" : "es", training.batch_size,
                     config.model.max_seq_len, ranks == 1 ? "" : fmt::format(" on each of {} ranks", ranks),
                     counted);
}

}  // namespace moe::train
