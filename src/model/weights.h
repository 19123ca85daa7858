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
enum class Purpose : uint8_t { training, inference };

// compute: the type matrix products read. In f32 the compute copy is the master itself; in bf16 it is a
// second tensor. Norm weights and the router are always f32. Inference has no gradients.
class Weights {
 public:
  struct Layer {
    Parameter attention_norm, qkvg, q_norm, k_norm, out;  // [D], [P, D], [d], [d], [D, D]
    Parameter moe_norm, router, gate_up, down;            // [D], [E, D], [E, 2F, D], [E, D, F]
  };

  Weights(const ModelConfig& config, DType compute, Purpose purpose, Arena& arena);

  Parameter embedding;   // [V, D], the LM head too
  Parameter final_norm;  // [D]
  std::vector<Layer> layers;

  // All of them, in the order of the forward pass; the views share this object's memory.
  std::vector<Parameter> list() const;
  // The masters under their checkpoint names.
  std::vector<NamedTensor> named() const;

  // Norms 1; matrices normal with config.init_std, those that write to the residual stream (out, down)
  // divided by sqrt(2 L) (GPT-2). A value depends on (seed, name, index) only.
  void initialise(uint64_t seed, Device& device);

 private:
  Parameter make(const std::string& name, const std::string& group, const std::vector<int64_t>& shape,
                 bool matrix, DType compute, Purpose purpose, Arena& arena) const;
  double init_std_, residual_std_;
};

class Ops;
// Refreshes the bf16 copies after the masters were written from outside (initialise, checkpoint).
void cast_weights(const Weights& weights, Ops& ops);

}  // namespace moe
