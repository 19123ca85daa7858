// SPDX-License-Identifier: MIT
#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/random.h"
#include "base/shard.h"
#include "ops/ops.h"

namespace moe::model {

ModelParameters::ModelParameters(const ModelSpec& spec, const Shard& experts)
    // GPT-2: what writes to the residual stream starts smaller.
    : list_(spec.init_std, spec.init_std / std::sqrt(2.0 * static_cast<double>(spec.layers.size())),
            experts) {
  const int64_t width = spec.head.width, vocab_size = spec.head.vocab_size;
  list_.matrix(embedding, "embedding.weight", "embedding", Role::embedding, {vocab_size, width});
  layers.resize(spec.layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    list_.begin_layer(static_cast<int64_t>(i));
    layers[i].declare(list_, spec.layers[i]);
  }
  list_.begin_layer(kNoLayer);
  list_.norm(final_norm, "final_norm.weight", width);
  if (!spec.head.tied) list_.matrix(lm_head, "lm_head.weight", "head", Role::head, {vocab_size, width});
  (spec.head.tied ? embedding : lm_head).fp8 = {.has_rows = true, .has_columns = true};
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
  for (Buffer* buffer : list_.buffers()) buffer->value = arena.allocate("buffers (f32)", buffer->value);
  if (types.fp8 && mode == Mode::training) place_fp8(types, arena);
}

void Weights::place_fp8(const WeightTypes& types, Arena& arena) {
  const auto first = types.fp8_bf16_layers, last = std::ssize(layers) - types.fp8_bf16_layers;
  for (Parameter* parameter : list_.all()) {
    Parameter::Fp8Copies& fp8 = parameter->fp8;
    if (!fp8.has_rows && !fp8.has_columns) continue;
    if (parameter->layer != kNoLayer && (parameter->layer < first || parameter->layer >= last)) continue;
    const Tensor& w = parameter->weight;
    std::vector<int64_t> shape(w.shape(), w.shape() + w.rank());
    const int rank = w.rank();
    const auto take = [&] {
      const std::string what = "weights (fp8 copies)";
      return ScaledRows{arena.allocate(what, Tensor(nullptr, DType::e4m3, shape.data(), rank)),
                        arena.allocate(what, Tensor(nullptr, DType::f32, shape.data(), rank - 1))};
    };
    if (fp8.has_rows) fp8.rows = take();
    std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
    if (fp8.has_columns) fp8.columns = take();
  }
}

void Weights::quantise(int64_t layer, Ops& ops) const {
  for (const Parameter* parameter : list_.all()) {
    if (parameter->layer != layer) continue;
    const Parameter::Fp8Copies& fp8 = parameter->fp8;
    if (!fp8.rows.empty()) ops.quantise_rows({fp8.rows, parameter->compute});
    if (!fp8.columns.empty()) ops.quantise_columns({fp8.columns, parameter->compute});
  }
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

// Equal pieces where matrices may be cut, or where none is. Else the buckets are one list of matrices, of
// which each rank has a run: a bucket alone may have fewer matrices than there are ranks.
void Weights::cut(std::vector<Bucketed>& buckets, int64_t ranks, bool whole_matrices) {
  const int64_t alignment = Parameter::kAlignment;
  std::vector<int64_t> places{0};  // in the list, where a piece may begin
  int64_t at = 0;
  bool even = true;  // equal pieces cut no matrix
  for (Bucketed& bucket : buckets) {
    const int64_t begin = at;
    for (const Parameter* parameter : bucket.parameters) {
      int64_t inside = at;
      for (const int64_t stretch : parameter->whole_stretches()) {
        inside += stretch;
        if (inside % alignment == 0) places.push_back(inside);
      }
      at += parameter->padded();
      if (places.back() != at) places.push_back(at);
    }
    const int64_t piece = ((at - begin) / alignment + ranks - 1) / ranks * alignment;
    bucket.counts.assign(static_cast<size_t>(ranks), piece);
    for (int64_t r = 1; r < ranks; ++r)
      even = even && piece * ranks == at - begin &&
             std::binary_search(places.begin(), places.end(), begin + r * piece);
  }
  if (!whole_matrices || even) return;
  std::vector<int64_t> cuts;  // where each rank's run begins: the nearest place to an equal share
  for (int64_t r = 0; r <= ranks; ++r) {
    const int64_t ideal = at * r / ranks;
    const auto above = std::lower_bound(places.begin(), places.end(), ideal);
    const bool below_is_nearer = above != places.begin() && ideal - *(above - 1) < *above - ideal;
    cuts.push_back(below_is_nearer ? *(above - 1) : *above);
  }
  int64_t begin = 0;
  for (Bucketed& bucket : buckets) {
    int64_t end = begin;
    for (const Parameter* parameter : bucket.parameters) end += parameter->padded();
    for (size_t r = 0; r + 1 < cuts.size(); ++r)
      bucket.counts[r] = std::clamp(cuts[r + 1], begin, end) - std::clamp(cuts[r], begin, end);
    begin = end;
  }
}

Tensor Weights::place(const std::vector<Parameter*>& group, const WeightTypes& types, Mode mode,
                      Arena& arena) {
  if (group.empty()) return {};  // a model without experts has no routers either
  std::vector<Bucketed> buckets = buckets_of(group, types.gradient);
  const bool experts = group.front()->role == Role::expert;
  const Shard& shard = experts ? sharding_.expert_updates : sharding_.other_updates;
  cut(buckets, shard.world, sharding_.whole_matrices && !group.front()->matrix_rows.empty());
  std::vector<int64_t> begin{0};  // of each bucket
  int64_t own = 0;                // what this rank updates
  for (const Bucketed& bucket : buckets) {
    begin.push_back(begin.back() + elements_of(bucket.counts));
    own += bucket.counts[static_cast<size_t>(shard.rank)];
  }
  const int64_t total = begin.back();
  const bool copied = types.compute != types.master, sharded = copied && shard.world > 1;
  CHECK(types.master == DType::f32 || !copied, "a master more coarse than its copy");
  const auto take = [&](const std::string& what, DType type, const std::string& which, int64_t n) {
    return arena.allocate(what + " (" + std::string(name_of(type)) + which + ")", type, {n});
  };
  const Tensor masters = take("weights", types.master, "", sharded ? own : total);
  const Tensor copies = copied ? take("weights", types.compute, " copy", total) : masters;
  const Tensor gradients = mode == Mode::training ? take("gradients", types.gradient, "", total) : Tensor();
  int64_t own_begin = 0;  // of the bucket's piece among those of this rank
  for (size_t b = 0; b < buckets.size(); ++b) {
    const int64_t first = begin[b] + elements_before(buckets[b].counts, shard.rank);
    const int64_t last = first + buckets[b].counts[static_cast<size_t>(shard.rank)];
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
        const int64_t master = from == to ? 0 : sharded ? own_begin + from - first : from;
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
    buckets_.push_back(
        {bucket(copies), bucket(gradients), std::move(buckets[b].counts), experts, buckets[b].layer});
    own_begin += last - first;
  }
  return gradients;
}

std::vector<Parameter> ModelParameters::list() const {
  std::vector<Parameter> all;
  for (const Parameter* parameter : list_.all()) all.push_back(*parameter);
  return all;
}

std::vector<Buffer> ModelParameters::buffers() const {
  std::vector<Buffer> all;
  for (const Buffer* buffer : list_.buffers()) all.push_back(*buffer);
  return all;
}

std::vector<NamedShard> Weights::stored() const {
  std::vector<NamedShard> shards;
  for (const Parameter& parameter : list()) shards.push_back(parameter.stored());
  for (const Buffer& buffer : buffers()) shards.push_back(whole_shard(buffer.name, buffer.value));
  return shards;
}

NamedShard whole_shard(const std::string& name, const Tensor& tensor) {
  return {name, Tensor(nullptr, tensor.dtype(), tensor.shape(), tensor.rank()), 0,
          tensor.reshape({tensor.numel()})};
}

std::vector<NamedTensor> Weights::named() const {
  std::vector<NamedTensor> tensors;
  for (const Parameter& parameter : list()) {
    const NamedShard stored = parameter.stored();
    CHECK(stored.local.numel() == stored.global.numel(), parameter.name);
    tensors.push_back({parameter.name, parameter.weight});
  }
  for (const Buffer& buffer : buffers()) tensors.push_back({buffer.name, buffer.value});
  return tensors;
}

void Weights::initialise(uint64_t seed, Ops& ops) {
  for (const Parameter& parameter : list()) {
    const NamedShard stored = parameter.stored();
    if (stored.local.empty() || stored.local.numel() == 0) continue;
    if (parameter.init_std == 0) {
      ops.fill(stored.local, static_cast<float>(parameter.init_value));
      continue;
    }
    ops.fill_normal({.x = stored.local,
                     .std = static_cast<float>(parameter.init_std),
                     .seed = seed,
                     .stream = stream_id("init/" + parameter.name),
                     .first = static_cast<uint64_t>(stored.offset)});
  }
}

void cast_weights(const Weights& weights, Ops& ops) {
  for (const Parameter& parameter : weights.list()) {
    const Parameter::LocalShard local = parameter.local();
    if (local.weight.numel() > 0 && local.is_copied()) ops.cast(local.compute, local.weight);
  }
}

}  // namespace moe::model
