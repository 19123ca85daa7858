// SPDX-License-Identifier: MIT
#include "interop/upcycle.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/random.h"
#include "checkpoint/finite.h"
#include "checkpoint/safetensors_dtype.h"
#include "model/weights.h"
#include "tensor/arena.h"
#include "tensor/host_floats.h"

namespace moe::interop {
namespace {

using checkpoint::Safetensors;
using checkpoint::TensorStream;

constexpr int64_t kPiece = int64_t{1} << 18;  // values converted at a time

// What a layer's tensor is made from: "layers.3.moe.gate_up.weight" from "layers.3.dense.gate_up.weight".
// Nothing for routers; a tensor that is no expert's keeps its name.
std::optional<std::string> source_of(const std::string& name) {
  if (name.ends_with(".moe.router.weight")) return std::nullopt;
  const auto renamed = [&](std::string_view ours, std::string_view theirs) {
    std::string source = name;
    return source.replace(source.find(ours), ours.size(), theirs);
  };
  if (name.find(".moe_norm.") != std::string::npos) return renamed(".moe_norm.", ".dense_norm.");
  if (name.find(".moe.") != std::string::npos) return renamed(".moe.", ".dense.");
  return name;
}

struct Source {
  const Safetensors* file;
  const Safetensors::Entry* entry;

  DType type() const { return checkpoint::dtype_of_safetensors(entry->dtype).value(); }
  std::span<const uint8_t> bytes() const { return file->bytes(*entry); }
  int64_t numel() const { return std::ssize(bytes()) / static_cast<int64_t>(size_of(type())); }
};

// Calls body(begin, values) for pieces of n values.
template <class Body>
void in_pieces(int64_t n, const Body& body) {
  std::vector<float> values(static_cast<size_t>(std::min(n, kPiece)));
  for (int64_t begin = 0; begin < n; begin += kPiece)
    body(begin, std::span(values.data(), static_cast<size_t>(std::min(kPiece, n - begin))));
}

double root_mean_square(const Source& source) {
  double squares = 0;
  in_pieces(source.numel(), [&](int64_t begin, std::span<float> values) {
    source.file->read_floats(*source.entry, begin, values);
    for (const float value : values) squares += static_cast<double>(value) * value;
  });
  return std::sqrt(squares / static_cast<double>(source.numel()));
}

void write_floats(std::span<const float> values, DType type, const TensorStream::Sink& sink) {
  std::vector<uint8_t> rounded(values.size() * size_of(type));
  narrow(rounded.data(), values.data(), type, std::ssize(values));
  sink(rounded.data(), rounded.size());
}

// Bit for bit where there is no noise. What is there once is no expert's and gets none.
void write_copies(const Source& source, int64_t copies, const Upcycling& how, const std::string& name,
                  const TensorStream::Sink& sink) {
  if (copies == 1 || how.noise == 0) {
    for (int64_t e = 0; e < copies; ++e) sink(source.bytes().data(), source.bytes().size());
    return;
  }
  const Random random(how.seed, "upcycle/" + name);
  const double deviation = how.noise * root_mean_square(source);
  const int64_t n = source.numel();
  for (int64_t e = 0; e < copies; ++e)
    in_pieces(n, [&](int64_t begin, std::span<float> values) {
      source.file->read_floats(*source.entry, begin, values);
      for (size_t i = 0; i < values.size(); ++i)
        values[i] += static_cast<float>(
            deviation * random.normal(static_cast<uint64_t>(e * n + begin) + static_cast<uint64_t>(i)));
      write_floats(values, source.type(), sink);
    });
}

void write_router(const std::string& name, int64_t n, const model::ModelConfig& config, const Upcycling& how,
                  const TensorStream::Sink& sink) {
  const Random random(how.seed, "init/" + name);
  in_pieces(n, [&](int64_t begin, std::span<float> values) {
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(config.init_std) * random.normal(static_cast<uint64_t>(begin) + i);
    write_floats(values, DType::f32, sink);
  });
}

}  // namespace

model::ModelConfig upcycled_config(const model::ModelConfig& dense, const Upcycling& how) {
  if (dense.first_dense_layers != dense.n_layers)
    throw UserError("moe upcycle", "a dense model: model.first_dense_layers is model.n_layers",
                    fmt::format("{} of {} layers without experts", dense.first_dense_layers, dense.n_layers),
                    "`moe import` makes a run of a dense Qwen3 or Llama");
  if (how.experts < 2) throw UserError("--experts", "at least 2", std::to_string(how.experts), "8 is usual");
  if (how.top_k < 2)
    throw UserError(
        "--top-k", "at least 2", std::to_string(how.top_k),
        "the weight of a single expert is always one, and no loss of the text reaches the router");
  if (how.noise < 0 || !std::isfinite(how.noise))
    throw UserError("--noise", "0, or more", fmt::format("{}", how.noise),
                    "0.01 is a hundredth of the weights");
  model::ModelConfig config = dense;
  config.expert_intermediate_dim = dense.dense_width();
  config.first_dense_layers = config.dense_intermediate_dim = 0;
  // Of no layer until here.
  config.shared_expert_dim = 0;
  config.router_score = RouterScore::softmax;
  config.router_scale = 1;
  config.router_bias = false;
  config.router_bias_rate = 0;
  config.num_experts = how.experts;
  config.top_k = how.top_k;
  config.capacity_factor = 0;
  config.renormalize_top_k = true;
  config.validate();
  return config;
}

std::vector<TensorStream> upcycled_streams(const Safetensors& dense, const model::ModelConfig& config,
                                           const Upcycling& how) {
  Arena planning;
  const auto wanted =
      model::Weights(config, {DType::f32, DType::f32}, model::Mode::inference, planning).named();
  std::vector<TensorStream> streams;
  for (const auto& [name, tensor] : wanted) {
    const std::vector<int64_t> shape(tensor.shape(), tensor.shape() + tensor.rank());
    const auto from = source_of(name);
    if (!from) {
      streams.push_back({name, DType::f32, shape,
                         [name = name, n = tensor.numel(), config, how](const TensorStream::Sink& sink) {
                           write_router(name, n, config, how, sink);
                         }});
      continue;
    }
    const Safetensors::Entry* const entry = dense.find(*from);
    if (entry == nullptr)
      throw UserError("the checkpoint's tensor " + *from, "the weights of a dense model", "none",
                      "the settings differ from those of the run that saved it");
    checkpoint::require_finite("tensor " + *from, entry->dtype, dense.bytes(*entry));
    const Source source{&dense, entry};
    const int64_t copies = tensor.numel() / source.numel();
    CHECK(tensor.numel() == copies * source.numel() && (copies == 1 || copies == config.num_experts), name);
    streams.push_back({name, source.type(), shape, [=, name = name](const TensorStream::Sink& sink) {
                         write_copies(source, copies, how, name, sink);
                       }});
  }
  return streams;
}

}  // namespace moe::interop
