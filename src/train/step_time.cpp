// SPDX-License-Identifier: MIT
#include "train/step_time.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "base/ascii.h"
#include "base/error.h"
#include "base/format.h"
#include "model/flops.h"
#include "train/peak_flops.h"
#include "train/rank_groups.h"

namespace moe::train {
namespace {

constexpr double kOutside = 3;  // buckets of what no layer has: the embedding, routers, norms
constexpr double kWide = 2;     // bytes of an activation or a copy of a weight in bf16 or f16
// Read and written for each token, layer and element of d_model by what is no product of matrices: norms,
// rotations, gates, routing, gathering and adding up. Of one H200's phases at 32 x 1024: 75 ms of 131,072
// tokens.
constexpr double kElementwise = 130;

double as_double(int64_t n) {
  return static_cast<double>(n);
}

double bytes_of(StoredType type) {
  switch (type) {
    case StoredType::fp32:
      return 4;
    case StoredType::bf16:
      return 2;
  }
  CHECK(false, "a stored type without a size");
}

// Of the moments of one parameter of a matrix.
double bytes_of(OptimizerKind optimizer) {
  switch (optimizer) {
    case OptimizerKind::adamw8bit:
      return 2;
    case OptimizerKind::adamw:
      return 8;
    case OptimizerKind::muon8bit:
      return 1;
    case OptimizerKind::muon:
      return 4;
  }
  CHECK(false, "an optimizer without a size");
}

// Products of a block in both passes, over those without recomputation.
double products_of(model::Recompute recompute) {
  switch (recompute) {
    case model::Recompute::none:
    case model::Recompute::selective:
      return 1;
    case model::Recompute::full:
      return 4.0 / 3;
  }
  CHECK(false, "a recomputation without a price");
}

// Tokens go to their experts and back, forward and backward. Where they are not kept, they go once more.
double dispatches_of(model::Recompute recompute) {
  switch (recompute) {
    case model::Recompute::none:
      return 4;
    case model::Recompute::selective:
    case model::Recompute::full:
      return 5;
  }
  CHECK(false, "a recomputation without a price");
}

// Bytes a second of a ring of ranks. Between machines there are as many rings as network cards, each with its
// part of the bytes, so a machine's cards work together.
double ring_rate(int ranks, const GpuRates& gpu, const Efficiency& e) {
  const double link = gpu.link * e.link;
  return ranks <= gpu.gpus_of_machine ? link : std::min(link, gpu.gpus_of_machine * gpu.network * e.network);
}

// Of reduce-scatters or all-gathers of so many bytes in all.
double ring_seconds(double bytes, double buckets, int ranks, const GpuRates& gpu, const Efficiency& e) {
  if (ranks == 1) return 0;
  return bytes * (ranks - 1) / ranks / ring_rate(ranks, gpu, e) + buckets * (ranks - 1) * e.hop_seconds;
}

// Of experts, of the other matrices of layers, and the rest.
struct Parameters {
  double experts = 0, matrices = 0, outside = 0;
  double others() const { return matrices + outside; }
};

Parameters parameters(const model::ModelConfig& model) {
  const model::ParameterCount count = model::count_parameters(model);
  const int64_t matrices = count.attention + count.dense;
  return {as_double(count.experts), as_double(matrices), as_double(count.total - count.experts - matrices)};
}

// What goes between ranks once a step, gradients or weights: all of it, and what no pass over the layers can
// hide.
struct Transfer {
  double seconds = 0, shown = 0;
};

// Of the layers of one group, by bucket (model/weights.h): that of the first layers is the first that forward
// waits for, and the last that backward completes.
Transfer layers_transfer(double parameters, int64_t layers, double bytes, const RunConfig& config, int ranks,
                         const GpuRates& gpu, const Efficiency& e) {
  const double L = as_double(layers);
  const double of_layer = parameters / L * bytes_of(config.training.gradient_type);
  const double together = std::clamp(std::ceil(1e6 * config.distributed.bucket_mb / of_layer), 1.0, L);
  const double seconds = ring_seconds(parameters * bytes, std::ceil(L / together), ranks, gpu, e);
  return {seconds, seconds * together / L};
}

// What FP8 leaves of the time of a phase of bf16, with the passes that quantise: of an H200's full model with
// 32 x 1024 tokens (docs/fp8.md).
struct Fp8Shares {
  double projections = 1, head = 1, experts = 1;
};
Fp8Shares fp8_shares(const TrainingConfig& training) {
  if (training.mixed_precision != MixedPrecision::fp8) return {};
  return {.projections = 0.94, .head = 0.81, .experts = 0.88};
}

// Of one micro-batch, with its experts on so many ranks.
double compute_seconds(const RunConfig& config, int expert_ranks, const GpuRates& gpu, const Efficiency& e) {
  const model::ModelConfig& model = config.model;
  const model::FlopsPerToken flops = model::flops_per_token(model, model.max_seq_len);
  const double tokens = as_double(config.training.batch_size * model.max_seq_len);
  const Fp8Shares fp8 = fp8_shares(config.training);
  const double projections = (fp8.projections * flops.projections + flops.dense) / e.projections;
  const double products =
      products_of(config.training.recompute) *
          (projections + flops.attention / e.attention + fp8.experts * flops.experts / e.experts) +
      fp8.head * flops.head / e.head;
  // Experts' weights are read in both passes, and their f32 gradients read and written, once a micro-batch.
  const double gradient = bytes_of(config.training.gradient_type);
  const double moved = tokens * as_double(model.n_layers * model.d_model) * kElementwise +
                       parameters(model).experts / expert_ranks * (2 * kWide + 2 * gradient);
  return tokens * products / gpu.flops + moved / (gpu.bytes * e.memory);
}

// Bytes for a parameter: gradient, master and states read, the last two and the copy written; the gradient
// once more for the norm.
double optimizer_bytes(const TrainingConfig& training) {
  const double gradient = bytes_of(training.gradient_type), master = bytes_of(training.master_weights);
  const double states = bytes_of(training.optimizer);
  // Muon reads the gradient once more, for idle experts, and writes and reads what it orthogonalises.
  const double of_muon = has_muon(training.optimizer) ? gradient + 2 * kWide : 0;
  return 2 * gradient + 2 * master + 2 * states + of_muon + (master == 2 ? 0 : kWide);
}

double newton_schulz_seconds(const RunConfig& config, double share, const GpuRates& gpu,
                             const Efficiency& e) {
  if (!has_muon(config.training.optimizer)) return 0;
  return share * model::newton_schulz_flops(config.model, config.training.muon_steps) /
         (gpu.flops * e.newton_schulz);
}

double row_seconds(const RunConfig& config, int expert_ranks, const GpuRates& gpu, const Efficiency& e) {
  if (expert_ranks == 1) return 0;
  const double tokens = as_double(config.training.batch_size * config.model.max_seq_len);
  const double bytes = tokens * row_bytes_of_token(config, expert_ranks);
  // What stays on the machine and what leaves it go at the same time.
  const int near = std::min(expert_ranks, gpu.gpus_of_machine);
  const double far = static_cast<double>(expert_ranks - near) / (expert_ranks - 1);
  return std::max(bytes * (1 - far) / (gpu.link * e.link), bytes * far / (gpu.network * e.network)) +
         as_double(config.model.moe_layers()) * e.wait_seconds;
}

// Not inside another word: "a10" is not in "a100".
bool has_word(const std::string& text, const std::string& word) {
  const auto inside = [&](size_t at) {
    return at < text.size() && std::isalnum(static_cast<unsigned char>(text[at]));
  };
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
    if ((at == 0 || !inside(at - 1)) && !inside(at + word.size())) return true;
  return false;
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
        gpu("h200", "H200", 140, 4.8, 450, 50), gpu("b200", "B200", 178, 8, 900, 50),
        // Without NVLink, or with one for pairs only: PCI Express 4 x16 (5 for the 5090), and one network
        // card for all.
        gpu("rtx3090", "RTX 3090", 23, 0.936, 32, 3), gpu("rtx4090", "RTX 4090", 23, 1.008, 32, 3),
        gpu("rtx5090", "RTX 5090", 31, 1.792, 64, 3), gpu("a10g", "A10G", 22, 0.6, 32, 3),
        gpu("a10", "A10", 22, 0.6, 32, 3), gpu("l40s", "L40S", 44, 0.864, 32, 6),
        gpu("l4", "L4", 22, 0.3, 32, 3), gpu("a6000", "A6000", 47, 0.768, 32, 6)};
  }();
  return gpus;
}

const GpuRates* find_gpu(std::string_view name) {
  std::string text = lower(name);
  const size_t rtx = text.find("rtx ");  // "RTX 4090" is rtx4090; "RTX A6000" is not
  if (rtx != std::string::npos && rtx + 4 < text.size() &&
      std::isdigit(static_cast<unsigned char>(text[rtx + 4])))
    text.erase(rtx + 3, 1);
  // Their links and memories are others, or their rates: laptops' GPUs carry the names of larger ones.
  for (const char* const other : {"pcie", "nvl", "gh200", "gb200", "laptop", "ti", "super", "ada"})
    if (has_word(text, other)) return nullptr;
  for (const GpuRates& gpu : known_gpus())
    if (has_word(text, gpu.name)) return &gpu;
  return nullptr;
}

double row_bytes_of_token(const RunConfig& config, int expert_ranks) {
  const model::ModelConfig& model = config.model;
  return dispatches_of(config.training.recompute) * kWide *
         as_double(model.moe_layers() * model.top_k * model.d_model) * (expert_ranks - 1) / expert_ranks;
}

std::optional<StepTime> predict_step(const RunConfig& config, int ranks, const GpuRates& gpu,
                                     const Efficiency& e) {
  const TrainingConfig& training = config.training;
  if (gpu.flops == 0) return std::nullopt;
  switch (training.mixed_precision) {
    case MixedPrecision::no:
    case MixedPrecision::tf32:
      return std::nullopt;
    case MixedPrecision::bf16:
    case MixedPrecision::fp16:
      break;
    case MixedPrecision::fp8:  // Hopper's alone
      if (gpu.name != "h100" && gpu.name != "h200") return std::nullopt;
      break;
    case MixedPrecision::automatic:
      CHECK(false, "training.mixed_precision is still auto");
  }
  const Mesh mesh = mesh_of(config.distributed, ranks);
  const int experts = mesh.ep;
  const bool shards = mesh.zero1;
  const Parameters all = parameters(config.model);
  const double here = all.others() + all.experts / experts;
  const double shared = ranks == 1 || !shards ? here : (all.others() + all.experts) / ranks;
  const auto micro_batches = static_cast<double>(training.gradient_accumulation_steps);
  const double pass = compute_seconds(config, experts, gpu, e);  // forward and backward of one micro-batch
  StepTime time;
  // Beside a pass forward (a third of the arithmetic) or backward (two thirds) all may travel but what is
  // shown.
  const bool beside = !some_may_stop(config.distributed, mesh);
  const auto transfer = [&](double bytes, double times, double beside_seconds) {
    const model::ModelConfig& model = config.model;
    const Transfer matrices = layers_transfer(all.matrices, model.n_layers, bytes, config, ranks, gpu, e);
    const Transfer of_experts =
        layers_transfer(all.experts / experts, model.moe_layers(), bytes, config, ranks / experts, gpu, e);
    const double layers = matrices.seconds + of_experts.seconds, shown = matrices.shown + of_experts.shown;
    if (beside) time.hidden += e.beside * std::min(times * (layers - shown), beside_seconds);
    return times * (layers + ring_seconds(all.outside * bytes, kOutside, ranks, gpu, e));
  };
  time.compute = micro_batches * pass;
  time.newton_schulz = newton_schulz_seconds(config, shared / here, gpu, e);
  time.optimizer = shared * optimizer_bytes(training) / (gpu.bytes * e.memory) + time.newton_schulz;
  time.gradients = transfer(bytes_of(training.gradient_type), shards ? 1 : 2, pass * 2 / 3);
  if (shards) time.weights = transfer(kWide, 1, pass / 3);
  time.rows = micro_batches * row_seconds(config, experts, gpu, e);
  return time;
}

}  // namespace moe::train
