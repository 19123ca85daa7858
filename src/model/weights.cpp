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

namespace moe {
namespace {

// Host staging for initialisation: the largest tensor goes to the device in pieces of this many values.
constexpr int64_t kPiece = int64_t{1} << 20;

bool writes_to_residual(const std::string& name) {
  return name.ends_with("attention.out.weight") || name.ends_with("moe.down.weight");
}

bool is_norm(const Parameter& parameter) {
  return parameter.group == "norms";
}

}  // namespace

Weights::Weights(const ModelConfig& config, const WeightTypes& types, Mode mode, Arena& arena,
                 const ShardingPlan& sharding)
    : init_std_(config.init_std),
      residual_std_(config.init_std / std::sqrt(2.0 * static_cast<double>(config.n_layers))),
      sharding_(sharding) {
  const int64_t D = config.d_model, E = config.num_experts, F = config.expert_intermediate_dim;
  const int64_t d = config.head_dim();
  const int64_t P = Heads{config.n_heads, config.n_kv_heads, d}.packed();
  // Shapes first: memory goes by group.
  const auto matrix = [](const std::string& name, const std::string& group,
                         std::initializer_list<int64_t> shape) {
    return Parameter{name, group, true, Tensor(nullptr, DType::f32, shape), {}, {}};
  };
  const Shard& shard = sharding.experts;
  CHECK(E % shard.world == 0);
  const int64_t here = E / shard.world;
  const auto expert_matrix = [&](const std::string& name, int64_t height, int64_t width) {
    Parameter parameter = matrix(name, "experts", {here, height, width});
    if (shard.world > 1) parameter.rows = {.begin = shard.rank * here, .of = E};
    CHECK(parameter.offset() % Parameter::kAlignment == 0, name);
    return parameter;
  };
  const auto norm = [](const std::string& name, int64_t width) {
    return Parameter{name, "norms", false, Tensor(nullptr, DType::f32, {width}), {}, {}};
  };
  embedding = matrix("embedding.weight", "embedding", {config.vocab_size, D});
  for (int64_t i = 0; i < config.n_layers; ++i) {
    const std::string at = "layers." + std::to_string(i) + ".";
    layers.push_back({.attention_norm = norm(at + "attention_norm.weight", D),
                      .qkvg = matrix(at + "attention.qkvg.weight", "attention", {P, D}),
                      .q_norm = norm(at + "attention.q_norm.weight", d),
                      .k_norm = norm(at + "attention.k_norm.weight", d),
                      .out = matrix(at + "attention.out.weight", "attention", {D, D}),
                      .moe_norm = norm(at + "moe_norm.weight", D),
                      .router = matrix(at + "moe.router.weight", "router", {E, D}),
                      .gate_up = expert_matrix(at + "moe.gate_up.weight", 2 * F, D),
                      .down = expert_matrix(at + "moe.down.weight", D, F)});
  }
  final_norm = norm("final_norm.weight", D);

  std::vector<Members> attention, experts;
  Members router, norms;
  for (size_t i = 0; i < layers.size(); ++i) {
    Layer& layer = layers[i];
    const auto number = static_cast<int64_t>(i);
    attention.push_back({number, {&layer.qkvg, &layer.out}});
    experts.push_back({number, {&layer.gate_up, &layer.down}});
    router.parameters.push_back(&layer.router);
    norms.parameters.insert(norms.parameters.end(),
                            {&layer.attention_norm, &layer.q_norm, &layer.k_norm, &layer.moe_norm});
  }
  norms.parameters.push_back(&final_norm);
  const WeightTypes embedding_types{types.compute, types.master, DType::f32}, f32{};
  place({{kNoLayer, {&embedding}}}, embedding_types, mode, arena);
  place(attention, types, mode, arena);
  place(experts, types, mode, arena);
  for (const Members& small : {router, norms}) {
    const Tensor gradient = place({small}, f32, mode, arena);
    if (!gradient.empty()) added_gradients_.push_back(gradient);
  }
  std::stable_sort(buckets_.begin(), buckets_.end(),
                   [](const Bucket& a, const Bucket& b) { return a.layer < b.layer; });
}

std::vector<Weights::Members> Weights::buckets_of(const std::vector<Members>& group, DType gradient) const {
  std::vector<Members> buckets;
  int64_t bytes = sharding_.bucket_bytes;  // of the last bucket
  for (const Members& layer : group) {
    if (bytes >= sharding_.bucket_bytes) {
      buckets.push_back({layer.layer, {}});
      bytes = 0;
    }
    for (Parameter* parameter : layer.parameters) {
      buckets.back().parameters.push_back(parameter);
      bytes += parameter->padded() * static_cast<int64_t>(size_of(gradient));
    }
  }
  return buckets;
}

Tensor Weights::place(const std::vector<Members>& group, const WeightTypes& types, Mode mode, Arena& arena) {
  const std::vector<Members> buckets = buckets_of(group, types.gradient);
  const bool experts = group.front().parameters.front()->group == "experts";
  const Shard& shard = experts ? sharding_.expert_updates : sharding_.other_updates;
  const int64_t unit = Parameter::kAlignment * shard.world;  // for equal parts
  std::vector<int64_t> begin{0};                             // of each bucket
  for (const Members& members : buckets) {
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

std::vector<Parameter> Weights::list() const {
  std::vector<Parameter> all{embedding};
  for (const Layer& layer : layers)
    all.insert(all.end(), {layer.attention_norm, layer.qkvg, layer.q_norm, layer.k_norm, layer.out,
                           layer.moe_norm, layer.router, layer.gate_up, layer.down});
  all.push_back(final_norm);
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
    const auto std = static_cast<float>(writes_to_residual(parameter.name) ? residual_std_ : init_std_);
    const NamedShard stored = parameter.stored();
    const Tensor& flat = stored.local;
    for (int64_t begin = 0; begin < flat.numel(); begin += kPiece) {
      const int64_t end = std::min(flat.numel(), begin + kPiece);
      piece.assign(static_cast<size_t>(end - begin), 1.0F);
      if (!is_norm(parameter))
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

}  // namespace moe
