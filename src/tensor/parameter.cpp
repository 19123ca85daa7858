// SPDX-License-Identifier: MIT
#include "tensor/parameter.h"

namespace moe {
namespace {

Tensor flat(const Tensor& tensor) {
  return tensor.empty() ? tensor : tensor.reshape({tensor.numel()});
}

}  // namespace

Tensor Parameter::whole(DType type) const {
  std::vector<int64_t> shape(weight.shape(), weight.shape() + weight.rank());
  if (rows) shape.front() = rows->of;
  return {nullptr, type, shape.data(), weight.rank()};
}

int64_t Parameter::before() const {
  return rows ? rows->begin * (weight.numel() / weight.dim(0)) : 0;
}

Parameter::Piece Parameter::own() const {
  return piece ? *piece : Piece{before(), flat(weight), flat(compute), flat(gradient)};
}

NamedPiece Parameter::stored() const {
  const bool in_part = piece && weight.data() == nullptr;
  return {name, whole(weight.dtype()), in_part ? piece->begin : before(),
          in_part ? piece->weight : flat(weight)};
}

}  // namespace moe
