// SPDX-License-Identifier: MIT
#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/random.h"
#include "base/threads.h"
#include "ops/ops.h"
#include "tensor/device.h"
#include "tensor/host_floats.h"

namespace moe::model {
namespace {

// Host staging for initialisation: the largest tensor goes to the device in pieces of this many values.
constexpr int64_t kPiece = int64_t{1} << 20;

}  // namespace

ModelParameters::ModelParameters(const ModelSpec& spec, const Shard& experts)
    // GPT-2: what writes to the residual stream starts smaller.
    : list_(spec.init_std, spec.init_std / std::sqrt(2.0 * static_cast<double>(spec.layers.size())),
            experts) {
  const auto& [width, vocab_size, tied, eps] = spec.head;
  list_.matrix(embedding, "embedding.weight", "embedding", Role::embedding, {vocab_size, width});
  layers.resize(spec.layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    list_.begin_layer(static_cast<int64_t>(i));
    layers[i].declare(list_, spec.layers[i]);
  }
  list_.begin_layer(kNoLayer);
  list_.norm(final_norm, "final_norm.weight", width);
  if (!tied) list_.matrix(lm_head, "lm_head.weight", "head", Role::head, {vocab_size, width});
}

Weights::Weights(const ModelConfig& config, const WeightTypes& types, Mode mode, Arena& arena,
                 const ShardingPlan& sharding)
    : ModelParameters(config.spec(), sharding.experts), sharding_(sharding) {
  const auto of = [&](Role role) {
    std::vector<Parameter*> group;
    for (Parameter* parameter : list_.all())
      if (parameter->role == role) group.push_back(parameter);
    return group;
  };
  const WeightTypes embedding_types{types.compute, types.master, DType::f32}, f32{};
  // The head writes a tied embedding's gradient. Else nothing does before tokens are added to it.
  const Tensor embedding_gradient = place(of(Role::embedding), embedding_types, mode, arena);
  if (const auto head = of(Role::head); !head.empty()) {
    place(head, embedding_types, mode, arena);
    if (!embedding_gradient.empty()) added_gradients_.push_back(embedding_gradient);
  }
  place(of(Role::matrix), types, mode, arena);
  place(of(Role::expert), types, mode, arena);
  for (const Role role : {Role::router, Role::norm}) {
    const Tensor gradient = place(of(role), f32, mode, arena);
    if (!gradient.empty()) added_gradients_.push_back(gradient);
  }
  std::stable_sort(buckets_.begin(), buckets_.end(),
                   [](const Bucket& a, const Bucket& b) { return a.layer < b.layer; });
}

// Routers and norms are small: those of all layers are one bucket, which belongs to none.
std::vector<Weights::Bucketed> Weights::buckets_of(const std::vector<Parameter*>& group,
                                                   DType gradient) const {
  std::vector<Bucketed> buckets;
  int64_t bytes = 0;  // of the last bucket
  for (Parameter* parameter : group) {
    const bool small = parameter->role == Role::router || parameter->role == Role::norm;
    const int64_t layer = small ? kNoLayer : parameter->layer;
    const bool next_layer = buckets.empty() || buckets.back().parameters.back()->layer != parameter->layer;
    if (buckets.empty() || (!small && next_layer && bytes >= sharding_.bucket_bytes)) {
      buckets.push_back({layer, {}});
      bytes = 0;
    }
    buckets.back().parameters.push_back(parameter);
    bytes += parameter->padded() * static_cast<int64_t>(size_of(gradient));
  }
  return buckets;
}

Tensor Weights::place(const std::vector<Parameter*>& group, const WeightTypes& types, Mode mode,
                      Arena& arena) {
  const std::vector<Bucketed> buckets = buckets_of(group, types.gradient);
  const bool experts = group.front()->role == Role::expert;
  const Shard& shard = experts ? sharding_.expert_updates : sharding_.other_updates;
  const int64_t unit = Parameter::kAlignment * shard.world;  // for equal parts
  std::vector<int64_t> begin{0};                             // of each bucket
  for (const Bucketed& members : buckets) {
    int64_t elements = 0;
    for (const Parameter* parameter : members.parameters) elements += parameter->padded();
    begin.push_back(begin.back() + (elements + unit - 1) / unit * unit);
  }
  const int64_t total = begin.back();
  const bool copied = types.compute != types.master, sharded = copied && shard.world > 1;
  CHECK(types.master == DType::f32 || !copied, "a master more coarse than its copy");
  const auto take = [&](const std::string& what, DType type, const std::string& which, int64_t n) {
    return arena.allocate(what + " (" + std::string(name_of(type)) + which + ")", type, {n});
  };
  const Tensor masters = take("weights", types.master, "", sharded ? total / shard.world : total);
  const Tensor copies = copied ? take("weights", types.compute, " copy", total) : masters;
  const Tensor gradients = mode == Mode::training ? take("gradients", types.gradient, "", total) : Tensor();
  for (size_t b = 0; b < buckets.size(); ++b) {
    const int64_t part = (begin[b + 1] - begin[b]) / shard.world;
    const int64_t first = begin[b] + shard.rank * part, last = first + part;
    int64_t at = begin[b];
    for (Parameter* parameter : buckets[b].parameters) {
      const Tensor shape = parameter->weight;
      const int64_t end = at + shape.numel();
      const auto slice = [&](const Tensor& all) {
        return Tensor(all.rows(at, end).data(), all.dtype(), shape.shape(), shape.rank());
      };
      parameter->weight =
          sharded ? Tensor(nullptr, types.master, shape.shape(), shape.rank()) : slice(masters);
      parameter->compute = slice(copies);
      if (!gradients.empty()) parameter->gradient = slice(gradients);
      if (shard.world > 1) {
        const int64_t from = std::clamp(first, at, end), to = std::clamp(last, at, end);
        const int64_t master = from == to ? 0 : sharded ? begin[b] / shard.world + from - first : from;
        parameter->local_shard = {.offset = parameter->offset() + from - at,
                                  .weight = masters.rows(master, master + to - from),
                                  .compute = copies.rows(from, to),
                                  .gradient = gradients.empty() ? Tensor() : gradients.rows(from, to)};
      }
      at += parameter->padded();
    }
    const auto bucket = [&](const Tensor& all) {
      return all.empty() ? all : all.rows(begin[b], begin[b + 1]);
    };
    buckets_.push_back({bucket(copies), bucket(gradients), experts, buckets[b].layer});
  }
  return gradients;
}

std::vector<Parameter> ModelParameters::list() const {
  std::vector<Parameter> all;
  for (const Parameter* parameter : list_.all()) all.push_back(*parameter);
  return all;
}

std::vector<NamedShard> Weights::stored() const {
  std::vector<NamedShard> shards;
  for (const Parameter& parameter : list()) shards.push_back(parameter.stored());
  return shards;
}

std::vector<NamedTensor> Weights::named() const {
  std::vector<NamedTensor> tensors;
  for (const Parameter& parameter : list()) {
    const NamedShard stored = parameter.stored();
    CHECK(stored.local.numel() == stored.global.numel(), parameter.name);
    tensors.push_back({parameter.name, parameter.weight});
  }
  return tensors;
}

void Weights::initialise(uint64_t seed, Device& device) {
  std::vector<float> piece;
  ThreadPool pool(available_cores());
  for (const Parameter& parameter : list()) {
    const Random random(seed, "init/" + parameter.name);
    const auto value = static_cast<float>(parameter.init_value);
    const auto std = static_cast<float>(parameter.init_std);
    const NamedShard stored = parameter.stored();
    const Tensor& flat = stored.local;
    for (int64_t begin = 0; begin < flat.numel(); begin += kPiece) {
      const int64_t end = std::min(flat.numel(), begin + kPiece);
      piece.assign(static_cast<size_t>(end - begin), value);
      if (std != 0)
        pool.parallel_for(end - begin, 1 << 14, [&](int64_t from, int64_t to) {
          for (int64_t i = from; i < to; ++i)
            piece[static_cast<size_t>(i)] =
                std * random.normal(static_cast<uint64_t>(stored.offset + begin + i));
        });
      upload_floats(flat.rows(begin, end), piece, device);
    }
  }
}

void cast_weights(const Weights& weights, Ops& ops) {
  for (const Parameter& parameter : weights.list()) {
    if (parameter.compute.data() == parameter.weight.data()) continue;
    const Parameter::LocalShard local = parameter.local();
    if (local.weight.numel() > 0) ops.cast(local.compute, local.weight);
  }
}

}  // namespace moe::model
