// SPDX-License-Identifier: MIT
// Every tensor of a model that it keeps from step to step, declared once, by the part that owns it. From the
// list of parameters, which are learnt, follow memory, shards, checkpoint names, initial values, optimizer
// groups, counts and FLOPs. Buffers are no gradient's business.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/shard.h"
#include "tensor/parameter.h"

namespace moe::model {

// A tensor of the model that no optimizer updates: f32, 0 at first, whole on each rank, in the checkpoint's
// weights under its name.
struct Buffer {
  std::string name;
  int64_t layer = kNoLayer;
  Tensor value;
};

class ParameterList {
 public:
  // init_std: of matrices; residual_std: of those that write to the residual stream. experts: the part of the
  // experts that this rank owns.
  ParameterList(double init_std, double residual_std, const Shard& experts)
      : init_std_(init_std), residual_std_(residual_std), experts_(experts) {}

  // What is declared from now on belongs to this layer, or to none (kNoLayer), and to its names' beginning.
  void begin_layer(int64_t layer);

  // These give `parameter` its name, role, shape and initial value. Its memory comes later (model/weights.h).
  // A parameter must not move afterwards.
  void norm(Parameter& parameter, const std::string& name, int64_t width);
  // 0 at first. Its role is that of a norm's weight: a vector in f32 that does not decay.
  void bias(Parameter& parameter, const std::string& name, int64_t width);
  void matrix(Parameter& parameter, const std::string& name, const std::string& group, Role role,
              std::initializer_list<int64_t> shape);
  // [E, ...]: one matrix for each expert; this rank has its shard of them.
  void expert_matrices(Parameter& parameter, const std::string& name, std::initializer_list<int64_t> shape);
  // The last one declared consists of these matrices: Parameter::matrix_rows.
  void consists_of(std::initializer_list<int64_t> matrix_rows, int64_t interleaved = 0);
  // Products can read the last one declared as FP8, by rows, by columns or both.
  void read_as_fp8(bool rows, bool columns) { all_.back()->fp8 = {.has_rows = rows, .has_columns = columns}; }
  // The last one declared writes to the residual stream.
  void writes_to_residual() { all_.back()->init_std = residual_std_; }

  // As for parameters: its memory comes later, and it must not move.
  void buffer(Buffer& buffer, const std::string& name, std::initializer_list<int64_t> shape);

  // In the order of the forward pass.
  const std::vector<Parameter*>& all() const { return all_; }
  const std::vector<Buffer*>& buffers() const { return buffers_; }

 private:
  void add(Parameter& parameter, const std::string& name, const std::string& group, Role role,
           const std::vector<int64_t>& shape);

  double init_std_, residual_std_;
  Shard experts_;
  int64_t layer_ = kNoLayer;
  std::string prefix_;
  std::vector<Parameter*> all_;
  std::vector<Buffer*> buffers_;
};

}  // namespace moe::model
