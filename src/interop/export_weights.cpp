// SPDX-License-Identifier: MIT
#include "interop/export_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <span>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "checkpoint/finite.h"
#include "checkpoint/safetensors_dtype.h"
#include "model/weights.h"
#include "tensor/arena.h"
#include "tensor/host_floats.h"

namespace moe::interop {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExactNorms = "moe_norms.safetensors";
constexpr int64_t kPiece = int64_t{1} << 18;  // values converted at a time

// Names, shapes and types of our tensors, without memory behind them.
std::vector<NamedTensor> our_tensors(const model::ModelConfig& config, DType master) {
  Arena planning;
  return model::Weights(config, {master, master}, model::Mode::inference, planning).named();
}

void check_model(const model::ModelConfig& config, const checkpoint::Safetensors& model) {
  for (const auto& [name, tensor] : our_tensors(config, DType::f32)) {
    const checkpoint::Safetensors::Entry* entry = model.find(name);
    const std::vector<int64_t> shape(tensor.shape(), tensor.shape() + tensor.rank());
    if (entry == nullptr || (entry->dtype != "F32" && entry->dtype != "BF16") || entry->shape != shape)
      throw UserError("the checkpoint's tensor " + name, tensor.describe(),
                      entry == nullptr ? "none" : "another shape or type",
                      "the settings differ from those of the run that saved it");
  }
}

// The values of one of their tensors, in pieces.
void read_ours(const checkpoint::Safetensors& model, const TensorMap& map,
               const std::function<void(std::span<float>)>& sink) {
  std::vector<float> piece(static_cast<size_t>(std::min(map.numel(), kPiece)));
  const checkpoint::Safetensors::Entry* entry =
      map.kind == TensorMap::Kind::zero ? nullptr : model.find(map.ours);
  for (const TensorMap::Run& run : map.in_their_order())
    for (int64_t done = 0; done < run.count; done += kPiece) {
      const std::span<float> values(piece.data(), static_cast<size_t>(std::min(kPiece, run.count - done)));
      if (entry == nullptr)
        std::fill(values.begin(), values.end(), 0.0F);
      else
        model.read_floats(*entry, map.begin + run.ours + done, values);
      if (map.kind == TensorMap::Kind::norm)
        for (float& value : values) value -= 1;
      sink(values);
    }
}

checkpoint::TensorStream stream_of(const TensorMap& map, const checkpoint::Safetensors& model, DType stored,
                                   const OnBytes& on_bytes) {
  return {map.theirs, stored, map.shape,
          [map, &model, stored, on_bytes](const checkpoint::TensorStream::Sink& sink) {
            std::vector<uint8_t> rounded;
            read_ours(model, map, [&](std::span<float> values) {
              rounded.resize(values.size() * size_of(stored));
              narrow(rounded.data(), values.data(), stored, std::ssize(values));
              checkpoint::require_finite(
                  fmt::format("tensor {}, as {}", map.theirs, checkpoint::safetensors_name(stored)),
                  checkpoint::safetensors_name(stored), rounded);
              sink(rounded.data(), rounded.size());
              if (on_bytes) on_bytes(rounded.size());
            });
          }};
}

std::vector<std::vector<checkpoint::TensorStream>> cut_into_shards(
    std::vector<checkpoint::TensorStream> streams, uint64_t limit) {
  std::vector<std::vector<checkpoint::TensorStream>> shards(1);
  uint64_t size = 0;
  for (checkpoint::TensorStream& stream : streams) {
    if (!shards.back().empty() && size + stream.bytes() > limit) {
      shards.emplace_back();
      size = 0;
    }
    size += stream.bytes();
    shards.back().push_back(std::move(stream));
  }
  return shards;
}

int64_t count_rounded(const checkpoint::Safetensors& model, const std::vector<TensorMap>& maps) {
  int64_t count = 0;
  for (const TensorMap& map : maps) {
    if (map.kind != TensorMap::Kind::norm) continue;
    for (const float w : model.values<float>(map.ours)) {
      const float less_one = w - 1;
      if (less_one + 1 != w) ++count;
    }
  }
  return count;
}

void write_exact_norms(const fs::path& folder, const checkpoint::Safetensors& model,
                       const std::vector<TensorMap>& maps) {
  std::vector<checkpoint::TensorStream> norms;
  for (const TensorMap& map : maps)
    if (map.kind == TensorMap::Kind::norm)
      norms.push_back(
          {map.ours, DType::f32, map.shape, [&model, map](const checkpoint::TensorStream::Sink& sink) {
             const auto bytes = model.bytes(*model.find(map.ours));
             sink(bytes.data(), bytes.size());
           }});
  checkpoint::write_safetensors(folder / kExactNorms, norms);
}

}  // namespace

ExportedWeights export_weights(const fs::path& folder, const model::ModelConfig& config,
                               const checkpoint::Safetensors& model, const StoredTypes& types,
                               uint64_t shard_bytes, const OnBytes& on_bytes, const Family& family,
                               bool zero_blocks) {
  check_model(config, model);
  const std::vector<TensorMap> maps = tensors_of(family, config);
  std::vector<checkpoint::TensorStream> streams;
  ExportedWeights result;
  for (const TensorMap& map : maps) {
    streams.push_back(stream_of(map, model, types.of(map), on_bytes));
    result.bytes += streams.back().bytes();
  }
  if (zero_blocks)
    for (const TensorMap& map : zero_blocks_of(family, config)) {
      streams.push_back(stream_of(map, model, types.of(map), on_bytes));
      result.zero_bytes += streams.back().bytes();
    }
  result.bytes += result.zero_bytes;
  const auto shards = cut_into_shards(std::move(streams), shard_bytes);
  result.files = static_cast<int64_t>(shards.size());
  OrderedJson index{{"metadata", {{"total_size", result.bytes}}}};
  std::map<std::string, std::string> file_of;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shards.size() == 1
                                 ? "model.safetensors"
                                 : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    for (const checkpoint::TensorStream& stream : shards[i]) file_of[stream.name] = name;
    checkpoint::write_safetensors(folder / name, shards[i]);
  }
  index["weight_map"] = file_of;
  if (shards.size() > 1) write_file_atomically(folder / "model.safetensors.index.json", index.dump(2) + "\n");
  result.rounded_norms = count_rounded(model, maps);
  if (result.rounded_norms > 0) write_exact_norms(folder, model, maps);
  return result;
}

ImportedWeights::ImportedWeights(const fs::path& folder, const model::ModelConfig& config, DType master,
                                 const Family& family)
    : shapes_(our_tensors(config, master)), maps_(tensors_of(family, config)), weights_(folder) {
  left_out_ = weights_.check(maps_, prediction_from(family, config));
  if (fs::exists(folder / kExactNorms))
    exact_norms_ = std::make_unique<checkpoint::Safetensors>(folder / kExactNorms);
}

std::map<std::string, DType> ImportedWeights::types() const {
  std::map<std::string, DType> types;
  for (const TensorMap& map : maps_) types[map.theirs] = weights_.type_of(map);
  return types;
}

std::vector<checkpoint::TensorStream> ImportedWeights::streams() const {
  std::vector<checkpoint::TensorStream> streams;
  for (const auto& [name, tensor] : shapes_)
    streams.push_back({name,
                       tensor.dtype(),
                       {tensor.shape(), tensor.shape() + tensor.rank()},
                       [this, name = name, type = tensor.dtype()](
                           const checkpoint::TensorStream::Sink& sink) { write(name, type, sink); }});
  return streams;
}

void ImportedWeights::write(const std::string& ours, DType type,
                            const checkpoint::TensorStream::Sink& sink) const {
  for (const TensorMap& map : maps_) {
    if (map.ours != ours) continue;
    std::vector<float> exact;
    if (map.kind == TensorMap::Kind::norm && exact_norms_ && exact_norms_->contains(ours))
      exact = exact_norms_->values<float>(ours);
    size_t at = 0;
    weights_.read(map, [&](std::span<const float> values) {
      if (type != DType::f32) {
        std::vector<uint8_t> rounded(values.size() * size_of(type));
        narrow(rounded.data(), values.data(), type, std::ssize(values));
        const auto name = checkpoint::safetensors_name(type);
        checkpoint::require_finite(fmt::format("tensor {}, as {}", map.theirs, name), name, rounded);
        return sink(rounded.data(), rounded.size());
      }
      if (exact.empty()) return sink(values.data(), values.size_bytes());
      std::vector<float> norm(values.begin(), values.end());
      for (size_t i = 0; i < norm.size(); ++i, ++at) {
        // Only if it is still the weight that was exported: the files may have been trained further
        // elsewhere.
        if (at < exact.size() && (exact[at] - 1) + 1 == norm[i]) norm[i] = exact[at];
      }
      sink(norm.data(), norm.size() * sizeof(float));
    });
  }
}

}  // namespace moe::interop
