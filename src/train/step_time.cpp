// SPDX-License-Identifier: MIT
#include "train/step_time.h"

#include <algorithm>
#include <cctype>

#include "model/flops.h"
#include "train/peak_flops.h"
#include "train/rank_groups.h"

namespace moe {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;
constexpr double kWide = 2;  // bytes of an activation or a copy of a weight in bf16 or f16
// Read and written for each token, layer and element of d_model by what is no product of matrices: norms, rotations, gates,
// routing, gathering and adding up. Of one H200's phases at 32 x 1024: 75 ms of 131,072 tokens.
constexpr double kElementwise = 130;
constexpr double kGroups = 5;  // of weights, each with a transfer of its own (model/weights.h)

double as_double(int64_t n) {
  return static_cast<double>(n);
}

// Bytes a second of a ring of ranks. Between machines there are as many rings as network cards, each with its part of the
// bytes, so a machine's cards work together.
double ring_rate(int ranks, const GpuRates& gpu, const Efficiency& e) {
  const double link = gpu.link * e.link;
  return ranks <= gpu.gpus_of_machine ? link : std::min(link, gpu.gpus_of_machine * gpu.network * e.network);
}

// Of a reduce-scatter or an all-gather of so many bytes in all.
double ring_seconds(double bytes, int ranks, const GpuRates& gpu, const Efficiency& e) {
  if (ranks == 1) return 0;
  return bytes * (ranks - 1) / ranks / ring_rate(ranks, gpu, e) + kGroups * (ranks - 1) * e.hop_seconds;
}

struct Parameters {
  double experts = 0, others = 0;
};

Parameters parameters(const ModelConfig& model) {
  const double experts = 3.0 * as_double(model.n_layers * model.num_experts) *
                         as_double(model.d_model * model.expert_intermediate_dim);
  return {experts, as_double(count_parameters(model).total) - experts};
}

// Of one micro-batch, with its experts on so many ranks.
double compute_seconds(const RunConfig& config, int expert_ranks, const GpuRates& gpu, const Efficiency& e) {
  const ModelConfig& model = config.model;
  const FlopsPerToken flops = flops_per_token(model, model.max_seq_len);
  const double tokens = as_double(config.training.batch_size * model.max_seq_len);
  const double again = config.training.recompute == "all" ? 4.0 / 3 : 1;  // of the blocks' products
  const double products = again * (flops.projections / e.projections + flops.attention / e.attention +
                                   flops.experts / e.experts) +
                          flops.head / e.head;
  // Experts' weights are read in both passes, and their f32 gradients read and written, once a micro-batch.
  const double gradient = config.training.gradient_type == "bf16" ? 2 : 4;
  const double moved = tokens * as_double(model.n_layers * model.d_model) * kElementwise +
                       parameters(model).experts / expert_ranks * (2 * kWide + 2 * gradient);
  return tokens * products / gpu.flops + moved / (gpu.bytes * e.memory);
}

// Bytes for a parameter: gradient, master and states read, the last two and the copy written; the gradient once more for the norm.
double optimizer_bytes(const TrainingConfig& training) {
  const double gradient = training.gradient_type == "bf16" ? 2 : 4;
  const double master = training.master_weights == "bf16" ? 2 : 4;
  const double states = training.optimizer == "adamw" ? 8 : 2;
  return 2 * gradient + 2 * master + 2 * states + (master == 2 ? 0 : kWide);
}

double row_seconds(const RunConfig& config, int expert_ranks, const GpuRates& gpu, const Efficiency& e) {
  if (expert_ranks == 1) return 0;
  const double tokens = as_double(config.training.batch_size * config.model.max_seq_len);
  const double bytes = tokens * row_bytes_of_token(config, expert_ranks);
  // What stays on the machine and what leaves it go at the same time.
  const int near = std::min(expert_ranks, gpu.gpus_of_machine);
  const double far = static_cast<double>(expert_ranks - near) / (expert_ranks - 1);
  return std::max(bytes * (1 - far) / (gpu.link * e.link), bytes * far / (gpu.network * e.network)) +
         as_double(config.model.n_layers) * e.wait_seconds;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

}  // namespace

const std::vector<GpuRates>& known_gpus() {
  static const std::vector<GpuRates> gpus = [] {
    const auto gpu = [](const char* name, const char* sheet, double gib, double tb, double link,
                        double network) {
      return GpuRates{name, gib * kGiB, *peak_flops(sheet, true), tb * 1e12, link * 1e9, network * 1e9};
    };
    return std::vector<GpuRates>{
        gpu("a100", "A100", 79, 2.04, 300, 25), gpu("h100", "H100", 79, 3.35, 450, 50),
        gpu("h200", "H200", 140, 4.8, 450, 50), gpu("b200", "B200", 178, 8, 900, 50)};
  }();
  return gpus;
}

const GpuRates* find_gpu(std::string_view name) {
  const std::string text = lower(name);
  // Their links and memories are others.
  for (const char* const other : {"pcie", "nvl", "gh200", "gb200"})
    if (text.find(other) != std::string::npos) return nullptr;
  for (const GpuRates& gpu : known_gpus())
    if (text.find(gpu.name) != std::string::npos) return &gpu;
  return nullptr;
}

double row_bytes_of_token(const RunConfig& config, int expert_ranks) {
  const ModelConfig& model = config.model;
  // There and back, forward and backward; where rows are not kept, there once more.
  const double times = config.training.recompute == "none" ? 4 : 5;
  return times * kWide * as_double(model.n_layers * model.top_k * model.d_model) * (expert_ranks - 1) /
         expert_ranks;
}

std::optional<StepTime> predict_step(const RunConfig& config, int ranks, const GpuRates& gpu,
                                     const Efficiency& e) {
  const TrainingConfig& training = config.training;
  if (training.mixed_precision != "bf16" && training.mixed_precision != "fp16") return std::nullopt;
  const std::string layout = chosen_layout(config.distributed);
  const int asked = static_cast<int>(config.distributed.expert_parallel);
  const int experts = layout != "expert" ? 1 : asked == 0 ? ranks : asked;
  const Parameters all = parameters(config.model);
  const double here = all.others + all.experts / experts;
  const double shared = ranks == 1 || layout == "data_parallel" ? here : (all.others + all.experts) / ranks;
  const double gradient = training.gradient_type == "bf16" ? 2 : 4;
  const auto micro_batches = static_cast<double>(training.gradient_accumulation_steps);
  const auto ring = [&](double bytes_of_parameter) {
    return ring_seconds(all.others * bytes_of_parameter, ranks, gpu, e) +
           ring_seconds(all.experts / experts * bytes_of_parameter, ranks / experts, gpu, e);
  };
  StepTime time;
  time.compute = micro_batches * compute_seconds(config, experts, gpu, e);
  time.optimizer = shared * optimizer_bytes(training) / (gpu.bytes * e.memory);
  time.gradients = (layout == "data_parallel" ? 2 : 1) * ring(gradient);
  time.weights = layout == "data_parallel" ? 0 : ring(kWide);
  time.rows = micro_batches * row_seconds(config, experts, gpu, e);
  return time;
}

}  // namespace moe
