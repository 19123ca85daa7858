// SPDX-License-Identifier: MIT
// Every learnt tensor of the model: shapes, names, and how they start. docs/model.md lists them.
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "tensor/arena.h"
#include "tensor/parameter.h"

namespace moe {

class Device;

// What a set of weights is for decides which copies exist.
enum class Mode : uint8_t { training, inference };

// Of what no layer has for itself: the embedding, and all small tensors together.
inline constexpr int64_t kNoLayer = -1;

// What a micro-batch does to the gradients of weights. The first one of a step overwrites them, so nothing
// zeroes them.
enum class GradientMode : uint8_t { overwrite, accumulate };

// compute: what matrix products read. master: what the optimizer updates and checkpoints hold; where both
// have one type they are one tensor. gradient: of the matrices of attention and experts; those of the
// embedding, which is added to for each token, of norms and of routers are f32. Norm and router weights are
// always f32. Inference has no gradients.
struct WeightTypes {
  DType compute = DType::f32, master = DType::f32, gradient = DType::f32;
};

class Weights {
 public:
  struct Layer {
    Parameter attention_norm, qkvg, q_norm, k_norm, out;  // [D], [P, D], [d], [d], [D, D]
    Parameter moe_norm, router, gate_up, down;            // [D], [E, D], [E, 2F, D], [E, D, F]
  };

  // A communication bucket: consecutive tensors of a group in one or several layers, flat, padding included.
  // Ranks own equal shards of it. gradient: for training only. compute: what matrix products read; the master
  // where that is f32.
  struct Bucket {
    Tensor compute, gradient;
    bool experts = false;
    int64_t layer = kNoLayer;  // forward reads it from there on, and backward has completed it there
  };

  // With expert parallelism, gate_up and down hold this rank's experts. With ZeRO-1, parameters outside of
  // the shard have no master here, unless the master is what products read.
  Weights(const ModelConfig& config, const WeightTypes& types, Mode mode, Arena& arena,
          const ShardingPlan& sharding = {});

  Parameter embedding;   // [V, D], the LM head too
  Parameter final_norm;  // [D]
  std::vector<Layer> layers;

  // All of them, in the order of the forward pass; the views share this object's memory. Those of one group
  // follow one another there, as Parameter::kAlignment says: weights, copies and gradients.
  std::vector<Parameter> list() const;
  // The gradients that operations can only add to (those of norms and routers): to be zero before the first
  // does.
  const std::vector<Tensor>& added_gradients() const { return added_gradients_; }
  // In the order in which forward reads them.
  const std::vector<Bucket>& buckets() const { return buckets_; }
  // The masters under their checkpoint names: what of them lies here, and, where that is all of them, as
  // tensors.
  std::vector<NamedShard> stored() const;
  std::vector<NamedTensor> named() const;

  // Norms 1; matrices normal with config.init_std, those that write to the residual stream (out, down)
  // divided by sqrt(2 L) (GPT-2). A value depends on (seed, name, index) only.
  void initialise(uint64_t seed, Device& device);

 private:
  struct Members {
    int64_t layer = kNoLayer;
    std::vector<Parameter*> parameters;
  };
  // Consecutive layers of a group together, until they have sharding_.bucket_bytes.
  std::vector<Members> buckets_of(const std::vector<Members>& group, DType gradient) const;
  // Memory for a group, by bucket. Returns all of its gradients.
  Tensor place(const std::vector<Members>& group, const WeightTypes& types, Mode mode, Arena& arena);
  double init_std_, residual_std_;
  ShardingPlan sharding_;
  std::vector<Tensor> added_gradients_;
  std::vector<Bucket> buckets_;
};

class Ops;
// Refreshes the copies after the masters were written from outside (initialise, checkpoint), as far as
// masters lie here.
void cast_weights(const Weights& weights, Ops& ops);

}  // namespace moe
