// SPDX-License-Identifier: MIT
// A learnt tensor with all its copies: what the model, the optimizer and the checkpoint agree on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/shard.h"
#include "tensor/scaled_rows.h"
#include "tensor/tensor.h"

namespace moe {

// How weights and optimizer states are sharded. experts: expert parallelism, the experts that this rank owns.
// expert_updates, other_updates: ZeRO-1, the part of these experts and of all other weights that it updates.
// whole_matrices: a part has whole matrices, for optimizers that need all of one; else it is cut anywhere.
// bucket_bytes: the least size of a gradient bucket; 0: one bucket a layer.
struct ShardingPlan {
  Shard experts, expert_updates, other_updates;
  bool whole_matrices = false;
  int64_t bucket_bytes = 0;
};

// The local part of a tensor in a file, flat.
struct NamedShard {
  std::string name;
  Tensor global;       // type and shape of the whole tensor, no memory
  int64_t offset = 0;  // elements before the local part
  Tensor local;        // [0] where nothing of it is here
};

// Of what no layer has for itself: the embedding, the head, and all small tensors together.
inline constexpr int64_t kNoLayer = -1;

// What a tensor is to the model. The optimizer and the memory layout treat each role in its own way. norm: a
// vector in f32 that does not decay, a bias as well.
enum class Role : uint8_t { matrix, expert, embedding, head, router, norm };

struct Parameter {
  // Tensors that lie one after another in memory begin at multiples of this many elements: so many of them
  // are one flat tensor to the optimizer, whose blocks of 256 elements are then still each tensor's own.
  static constexpr int64_t kAlignment = 256;

  std::string name;  // "layers.0.attention.qkvg.weight": the name in a checkpoint (docs/model.md lists all)
  // embedding, attention, router, experts, dense, norms, biases or head: rows of the gradient-norm table
  std::string group;
  Role role = Role::matrix;
  int64_t layer = kNoLayer;
  // The matrices that it consists of, one below another, by their rows; of a 3-D tensor, those of each entry.
  // Empty: no optimizer sees matrices here. interleaved > 0: the first two take turns, so many rows each.
  std::vector<int64_t> matrix_rows = {};
  int64_t interleaved = 0;
  double init_value = 0, init_std = 0;  // initial values: init_value where init_std is 0, else normal about 0
  Tensor weight;                        // the master: f32, or bf16
  Tensor compute;                       // what the ops read: bf16 copy, or the same view as weight
  // f32 or bf16; written by the first micro-batch of a step, added to by the others
  Tensor gradient;
  // Training in FP8: `compute` by rows for x w^T, and its transpose by rows for dy w. Which ones products can
  // read, and where they are: nowhere in other precisions, and never in a checkpoint.
  struct Fp8Copies {
    bool has_rows = false, has_columns = false;
    ScaledRows rows = {}, columns = {};
    bool empty() const { return rows.empty() && columns.empty(); }
  };
  Fp8Copies fp8 = {};

  // The part that this rank updates, flat. offset: of its first element in the global tensor, a multiple of
  // kAlignment.
  struct LocalShard {
    int64_t offset = 0;
    Tensor weight, compute, gradient;
    // Whether products read another tensor than the master.
    bool is_copied() const { return !compute.empty() && compute.data() != weight.data(); }
  };
  // ZeRO-1. `weight` may then have a shape only: this rank has no more of the master than its shard.
  std::optional<LocalShard> local_shard = {};

  // Expert parallelism: the tensors here are these rows of the global one.
  struct Rows {
    int64_t begin = 0, of = 0;
  };
  std::optional<Rows> rows = {};

  Tensor global_shape(DType type) const;  // a tensor without memory
  int64_t offset() const;                 // in the global tensor, of the first element here
  // Of a 3-D tensor, the entries along its first dimension that are here; else 1. width: of its rows.
  int64_t entries() const { return weight.rank() == 3 ? weight.dim(0) : 1; }
  int64_t width() const { return weight.dim(weight.rank() - 1); }
  // Elements of the smallest stretches that have whole matrices, one after another; of what is here.
  std::vector<int64_t> whole_stretches() const;
  int64_t padded() const { return (weight.numel() + kAlignment - 1) / kAlignment * kAlignment; }
  LocalShard local() const;   // all that is here, unless `local_shard` says otherwise
  NamedShard stored() const;  // the part of the master that is here
};

// A tensor under a name, for reading and writing files.
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

}  // namespace moe
