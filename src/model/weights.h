// SPDX-License-Identifier: MIT
// Every tensor that the model keeps: shapes, names, and how they start. docs/model.md lists them.
#pragma once

#include <cstdint>
#include <vector>

#include "model/block.h"
#include "model/config.h"
#include "model/head.h"
#include "model/modes.h"
#include "model/parameter_list.h"
#include "model/spec.h"
#include "tensor/arena.h"
#include "tensor/parameter.h"

namespace moe {
class Device;
class Ops;
}  // namespace moe

namespace moe::model {

// compute: what matrix products read. master: what the optimizer updates and checkpoints hold; where both
// have one type they are one tensor. gradient: of the matrices of attention and experts; those of the
// embedding, which is added to for each token, of norms and of routers are f32. Norm and router weights are
// always f32. Inference has no gradients. fp8: in training, copies in FP8 for the products that read them,
// but not of so many layers at each end.
struct WeightTypes {
  DType compute = DType::f32, master = DType::f32, gradient = DType::f32;
  bool fp8 = false;
  int64_t fp8_bf16_layers = 0;
};

// Names, shapes and roles, without memory: enough to count.
class ModelParameters {
 public:
  explicit ModelParameters(const ModelSpec& spec, const Shard& experts = {});
  ModelParameters(const ModelParameters&) = delete;  // list_ points into it
  ModelParameters& operator=(const ModelParameters&) = delete;

  Parameter embedding;   // [V, D]
  Parameter final_norm;  // [D]
  Parameter lm_head;     // [V, D]; none where the head is tied to the embedding
  std::vector<LayerWeights> layers;
  HeadWeights head() const { return {final_norm, lm_head.name.empty() ? embedding : lm_head}; }

  // All of them, in the order of the forward pass; the views share this object's memory. Those of one group
  // follow one another there, as Parameter::kAlignment says: weights, copies and gradients.
  std::vector<Parameter> list() const;
  // What is not learnt, in the same order.
  std::vector<Buffer> buffers() const;

 protected:
  ParameterList list_;
};

class Weights : public ModelParameters {
 public:
  // A communication bucket: consecutive tensors of a group in one or several layers, flat, padding included.
  // Rank r updates the piece of counts[r] elements. gradient: for training only. compute: what matrix
  // products read; the master where that is f32.
  struct Bucket {
    Tensor compute, gradient;
    std::vector<int64_t> counts;
    bool experts = false;
    int64_t layer = kNoLayer;  // forward reads it from there on, and backward has completed it there
  };

  // With expert parallelism, gate_up and down hold this rank's experts. With ZeRO-1, parameters outside of
  // the shard have no master here, unless the master is what products read.
  Weights(const ModelConfig& config, const WeightTypes& types, Mode mode, Arena& arena,
          const ShardingPlan& sharding = {});

  // The gradients that operations can only add to (those of norms, routers and an untied embedding): to be
  // zero before the first does.
  const std::vector<Tensor>& added_gradients() const { return added_gradients_; }
  // In the order in which forward reads them.
  const std::vector<Bucket>& buckets() const { return buckets_; }
  // The masters under their checkpoint names, then the buffers: what of them lies here, and, where that is
  // all of them, as tensors.
  std::vector<NamedShard> stored() const;
  std::vector<NamedTensor> named() const;

  // Makes the FP8 copies of a layer's weights anew, or of those that belong to none: after `compute` changed.
  void quantise(int64_t layer, Ops& ops) const;

  // As each parameter says. A value depends on (seed, name, index) only. Buffers stay.
  void initialise(uint64_t seed, Ops& ops);

 private:
  struct Bucketed {
    int64_t layer = kNoLayer;
    std::vector<Parameter*> parameters;
    // By rank, what it updates.
    std::vector<int64_t> counts = {};
  };
  void place_fp8(const WeightTypes& types, Arena& arena);
  // Consecutive layers of a group together, until they have sharding_.bucket_bytes.
  std::vector<Bucketed> buckets_of(const std::vector<Parameter*>& group, DType gradient) const;
  // Gives the buckets their counts.
  static void cut(std::vector<Bucketed>& buckets, int64_t ranks, bool whole_matrices);
  // Memory for a group, by bucket. Returns all of its gradients.
  Tensor place(const std::vector<Parameter*>& group, const WeightTypes& types, Mode mode, Arena& arena);
  ShardingPlan sharding_;
  std::vector<Tensor> added_gradients_;
  std::vector<Bucket> buckets_;
};

// A tensor that each rank has all of, for a checkpoint.
NamedShard whole_shard(const std::string& name, const Tensor& tensor);

// Refreshes the copies after the masters were written from outside (initialise, checkpoint), as far as
// masters lie here.
void cast_weights(const Weights& weights, Ops& ops);

}  // namespace moe::model
