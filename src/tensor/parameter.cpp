// SPDX-License-Identifier: MIT
#include "tensor/parameter.h"

namespace moe {
namespace {

Tensor flat(const Tensor& tensor) {
  return tensor.empty() ? tensor : tensor.reshape({tensor.numel()});
}

}  // namespace

Tensor Parameter::global_shape(DType type) const {
  std::vector<int64_t> shape(weight.shape(), weight.shape() + weight.rank());
  if (rows) shape.front() = rows->of;
  return {nullptr, type, shape.data(), weight.rank()};
}

int64_t Parameter::offset() const {
  return rows ? rows->begin * (weight.numel() / weight.dim(0)) : 0;
}

std::vector<int64_t> Parameter::whole_stretches() const {
  if (matrix_rows.empty()) return {weight.numel()};
  std::vector<int64_t> stretches;
  for (int64_t entry = 0; entry < entries(); ++entry)
    for (size_t i = 0; i < matrix_rows.size(); ++i) {
      const int64_t n = matrix_rows[i] * width();
      if (i == 1 && interleaved > 0)
        stretches.back() += n;
      else
        stretches.push_back(n);
    }
  return stretches;
}

Parameter::LocalShard Parameter::local() const {
  return local_shard ? *local_shard : LocalShard{offset(), flat(weight), flat(compute), flat(gradient)};
}

NamedShard Parameter::stored() const {
  const bool sharded = local_shard && weight.data() == nullptr;
  return {name, global_shape(weight.dtype()), sharded ? local_shard->offset : offset(),
          sharded ? local_shard->weight : flat(weight)};
}

}  // namespace moe
