// SPDX-License-Identifier: MIT
#include "cli/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/format.h"
#include "base/progress.h"
#include "interop/hf_config.h"
#include "interop/reference_model.h"
#include "tensor/host_floats.h"
#include "train/state.h"

namespace moe::cli {
namespace {

constexpr const char* kPrompt =
    "The lantern stood on the table by the window, and its light fell on an open book.";
constexpr const char* kReport = "this is a bug: please report it";

int64_t longest(const Prompts& prompts) {
  int64_t T = 0;
  for (const auto& ids : prompts) T = std::max(T, std::ssize(ids));
  return T;
}

backend::Backend backend_of(const train::RunConfig& config) {
  return backend::make_backend(config.training.device, static_cast<int>(config.training.threads),
                               train::arithmetic(config.training));
}

model::MicroBatch shape_of(const train::RunConfig& config, int64_t T) {
  return {.B = 1,
          .T = T,
          .type = train::arithmetic(config.training).type,
          .vocabulary = config.vocabulary(),
          .head_rows = T};
}

std::vector<float> logits_of(PlacedModel& model, int64_t T, std::vector<text::TokenId> ids,
                             backend::Backend& backend) {
  const auto N = std::ssize(ids);
  const std::vector<text::TokenId> none(static_cast<size_t>(T), -1);
  std::vector<int32_t> first(ids.size(), 0);
  ids.resize(none.size(), 0);  // the rest of the row is padding
  first.resize(none.size(), -1);
  model.transformer.upload(*backend.device, ids.data(), none.data(), first.data());
  model.transformer.forward(*backend.ops);
  return host_floats(model.transformer.logits(0, N, *backend.ops), *backend.device);
}

}  // namespace

Prompts prompts_of(const std::vector<std::string>& prompts, const text::Tokenizer& tokenizer) {
  const auto encoder = tokenizer.encoder();
  Prompts all;
  for (const std::string& prompt : prompts.empty() ? std::vector<std::string>{kPrompt} : prompts) {
    all.push_back({tokenizer.end_of_text()});
    encoder->encode(prompt, all.back());
  }
  return all;
}

void verify_tensors_of(const TrainedModel& model, const std::filesystem::path& folder,
                       interop::Direction direction, Terminal& terminal) {
  const std::string file = (folder / "config.json").string();
  const auto [family, config] = interop::read_hf_model(file, read_file(file));
  Progress progress(terminal, "verifying", 0, "bytes");
  const interop::VerifiedTensors verified =
      interop::verify_tensors(folder, config, model.checkpoint.file(model.weights), *family, direction,
                              [&](uint64_t bytes) { progress.add(bytes); });
  terminal.line(fmt::format("verified  {} tensors, {} values, read back from both sides: {}",
                            verified.tensors, verified.values,
                            verified.exact ? "the same bits" : "the same but for their rounding"));
}

PromptModel::PromptModel(const train::RunConfig& config, const Prompts& prompts)
    : backend_(backend_of(config)), prompts_(prompts), T_(longest(prompts)) {
  std::tie(arena_, row_) = train::place<PlacedModel>(
      *backend_.device, config.model, train::weight_types(config.training), shape_of(config, T_));
  row_->transformer.prepare(*backend_.device);
}

bool PromptModel::fits(const train::RunConfig& config, const Prompts& prompts, std::string& words) {
  const backend::Backend backend = backend_of(config);
  Arena plan;
  const PlacedModel counted(config.model, train::weight_types(config.training),
                            shape_of(config, longest(prompts)), plan);
  const int64_t available = backend.device->memory_available();
  words = fmt::format("{} needed, {} free", format_bytes(static_cast<double>(plan.used())),
                      format_bytes(static_cast<double>(available)));
  return plan.used() <= available;
}

std::vector<std::vector<float>> PromptModel::logits() {
  std::vector<std::vector<float>> all;
  all.reserve(prompts_.size());
  for (const auto& ids : prompts_) all.push_back(logits_of(*row_, T_, ids, backend_));
  return all;
}

void verify_logits(const std::vector<std::vector<float>>& logits, const Prompts& prompts,
                   const train::RunConfig& config, const std::filesystem::path& folder, Terminal& terminal) {
  const std::string file = (folder / "config.json").string();
  const std::string type = interop::read_hf_model(file, read_file(file)).family->name;
  if (!interop::has_reference(type))
    return terminal.line(fmt::format(
        "          logits: no second way for {} yet; docs/interop.md says which families have one", type));
  double difference = 0, norm = 0;
  int64_t tokens = 0;
  for (size_t p = 0; p < prompts.size(); ++p) {
    terminal.status(fmt::format("verifying: logits of {} tokens in double", prompts[p].size()));
    const std::vector<double> theirs = interop::reference_logits(folder, prompts[p]);
    const size_t V = theirs.size() / prompts[p].size(), ours = logits[p].size() / prompts[p].size();
    const auto known = static_cast<size_t>(config.vocabulary());  // rows behind them are padding
    for (size_t t = 0; t < prompts[p].size(); ++t)
      for (size_t v = 0; v < std::min({V, ours, known}); ++v) {
        const double x = logits[p][t * ours + v], y = theirs[t * V + v];
        difference += (x - y) * (x - y);
        norm += y * y;
      }
    tokens += std::ssize(prompts[p]);
  }
  terminal.clear_status();
  const double apart = std::sqrt(difference / std::max(norm, 1e-300));
  terminal.line(fmt::format(
      "          logits of {} tokens by a second way, in double from the files' names: {:.1e} of their norm",
      tokens, apart));
  // f32 differs by some 1e-6, and by more where a token's two best experts are close; bf16 by some 1e-2. A
  // tensor in the wrong place changes logits by their own size.
  const bool exact = config.training.mixed_precision == train::MixedPrecision::no &&
                     config.training.master_weights == train::StoredType::fp32;
  const double bound = exact ? 1e-3 : 0.2;
  if (!(apart <= bound))
    throw UserError(folder.string(), fmt::format("logits within {} of their norm of the second way's", bound),
                    fmt::format("{:.1e}", apart), kReport);
}

}  // namespace moe::cli
