// SPDX-License-Identifier: MIT
#include "model/parameter_list.h"

#include <numeric>

#include "base/error.h"

namespace moe::model {

void ParameterList::begin_layer(int64_t layer) {
  layer_ = layer;
  prefix_ = layer == kNoLayer ? "" : "layers." + std::to_string(layer) + ".";
}

void ParameterList::add(Parameter& parameter, const std::string& name, const std::string& group, Role role,
                        const std::vector<int64_t>& shape) {
  parameter.name = prefix_ + name;
  parameter.group = group;
  parameter.role = role;
  parameter.layer = layer_;
  parameter.weight = Tensor(nullptr, DType::f32, shape.data(), static_cast<int>(shape.size()));
  parameter.init_value = role == Role::norm ? 1 : 0;
  parameter.init_std = role == Role::norm ? 0 : init_std_;
  all_.push_back(&parameter);
}

void ParameterList::norm(Parameter& parameter, const std::string& name, int64_t width) {
  add(parameter, name, "norms", Role::norm, {width});
}

void ParameterList::bias(Parameter& parameter, const std::string& name, int64_t width) {
  add(parameter, name, "biases", Role::norm, {width});
  parameter.init_value = 0;
}

void ParameterList::matrix(Parameter& parameter, const std::string& name, const std::string& group, Role role,
                           std::initializer_list<int64_t> shape) {
  add(parameter, name, group, role, shape);
}

void ParameterList::buffer(Buffer& buffer, const std::string& name, std::initializer_list<int64_t> shape) {
  buffer = {.name = prefix_ + name, .layer = layer_, .value = Tensor(nullptr, DType::f32, shape)};
  buffers_.push_back(&buffer);
}

void ParameterList::consists_of(std::initializer_list<int64_t> matrix_rows, int64_t interleaved) {
  Parameter& last = *all_.back();
  last.matrix_rows = matrix_rows;
  last.interleaved = interleaved;
  const auto stretches = last.whole_stretches();
  CHECK(std::accumulate(stretches.begin(), stretches.end(), int64_t{0}) == last.weight.numel(), last.name);
}

void ParameterList::expert_matrices(Parameter& parameter, const std::string& name,
                                    std::initializer_list<int64_t> shape) {
  std::vector<int64_t> local(shape);
  const int64_t E = local.front();
  CHECK(E % experts_.world == 0);
  local.front() = E / experts_.world;
  add(parameter, name, "experts", Role::expert, local);
  if (experts_.world > 1) parameter.rows = {.begin = experts_.rank * local.front(), .of = E};
  CHECK(parameter.offset() % Parameter::kAlignment == 0, parameter.name);
}

}  // namespace moe::model
