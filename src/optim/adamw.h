// SPDX-License-Identifier: MIT
// AdamW's states and its walk over the parameters. The arithmetic of one tensor is Ops::adamw8 and
// Ops::adamw32; here is decided which tensor has which states, under which names they are saved, and which
// tensors lie in memory so that one operation takes them all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/ops.h"
#include "optim/optimizer_config.h"
#include "tensor/arena.h"
#include "tensor/parameter.h"

namespace moe::optim {

class AdamWOptimizer {
 public:
  static constexpr int64_t kBlock = Parameter::kAlignment;  // elements that share one absmax
  static constexpr int64_t kMinimum8bitSize = 4096;  // smaller tensors keep f32 states, as in bitsandbytes

  // As OptimizerSet.
  AdamWOptimizer(const OptimizerConfig& config, const std::vector<Parameter>& parameters, Arena& arena,
                 Ops& ops);

  void step(const Update& update, const Tensor& scale_1);

  bool keeps_8bit(const Parameter& parameter) const;
  // With P the name of a parameter of n elements:
  //   8-bit: P.m.codes, P.v.codes u8 in P's shape;  P.m.absmax, P.v.absmax f32 [ceil(n / 256)]
  //   32-bit: P.m, P.v f32 in P's shape
  std::vector<NamedShard> state() const;

 private:
  struct Entry {
    Parameter parameter;
    Parameter::LocalShard local;
    bool eight_bit = false;
    Tensor m, v;                // flat, of its own; codes u8, or f32
    Tensor absmax_m, absmax_v;  // 8-bit only
  };
  // Consecutive tensors as one, flat, without the padding after the last.
  struct Span {
    Tensor weight, compute, gradient, m, v, absmax_m, absmax_v;
    bool eight_bit = false;
    RolePolicy policy;
    uint64_t stream = 0;  // of random numbers, and where in it to begin; a bf16 weight has a span of its own
    int64_t first = 0;
  };
  void allocate(Arena& arena);
  void join_spans();

  OptimizerConfig config_;
  Ops& ops_;
  std::vector<std::string> groups_;  // in order of first appearance
  std::vector<Entry> entries_;       // in the order of the parameters
  std::vector<Span> spans_;
};

}  // namespace moe::optim
