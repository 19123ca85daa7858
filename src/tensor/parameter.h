// SPDX-License-Identifier: MIT
// A learnt tensor with all its copies: what the model, the optimizer and the checkpoint agree on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace moe {

// One of equal parts, as ranks deal out what each of them keeps.
struct Portion {
  int rank = 0, ranks = 1;
};

// What of the weights is a rank's: which experts it has, and which part it updates of these, and of all else.
// bucket_bytes: of gradients that are sent to the others at a time, at least; 0: those of each layer by themselves.
struct Placement {
  Portion experts, of_experts, of_others;
  int64_t bucket_bytes = 0;
};

// A tensor of a file of which this memory holds a part, flat.
struct NamedPiece {
  std::string name;
  Tensor whole;       // its type and shape, no memory
  int64_t begin = 0;  // elements before the part
  Tensor piece;       // [0] where nothing of it lies here
};

struct Parameter {
  // Tensors that lie one after another in memory begin at multiples of this many elements: so many of them are one flat
  // tensor to the optimizer, whose blocks of 256 elements are then still each tensor's own.
  static constexpr int64_t kAlignment = 256;

  std::string name;   // "layers.0.attention.qkvg.weight": the name in a checkpoint (docs/model.md lists all)
  std::string group;  // embedding, attention, router, experts or norms: the rows of the gradient-norm table
  bool decays;        // weight decay applies (matrices, not norms)
  Tensor weight;      // the master: f32, or bf16
  Tensor compute;     // what the ops read: bf16 copy, or the same view as weight
  Tensor gradient;    // f32 or bf16; written by the first micro-batch of a step, added to by the others

  // What of it this rank updates, flat, from a multiple of kAlignment on; begin: in the whole tensor.
  struct Piece {
    int64_t begin = 0;
    Tensor weight, compute, gradient;
  };
  // Where ranks share the work. `weight` then may have a shape only: there is no more of the master than this.
  std::optional<Piece> piece = {};

  // Where experts are dealt to ranks, the tensors here have some of the rows of the whole one.
  struct Rows {
    int64_t begin = 0, of = 0;
  };
  std::optional<Rows> rows = {};

  // The shape of the whole tensor, and the elements of it before the first one here.
  Tensor whole(DType type) const;
  int64_t before() const;
  int64_t padded() const { return (weight.numel() + kAlignment - 1) / kAlignment * kAlignment; }
  Piece own() const;          // all of it, if `piece` does not say otherwise
  NamedPiece stored() const;  // what of the master lies here
};

// A tensor under a name, for reading and writing files.
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

}  // namespace moe
