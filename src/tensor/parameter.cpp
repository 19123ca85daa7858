// SPDX-License-Identifier: MIT
#include "tensor/parameter.h"

namespace moe {
namespace {

Tensor flat(const Tensor& tensor) {
  return tensor.empty() ? tensor : tensor.reshape({tensor.numel()});
}

}  // namespace

Parameter::Piece Parameter::own() const {
  return piece ? *piece : Piece{0, flat(weight), flat(compute), flat(gradient)};
}

NamedPiece Parameter::stored() const {
  const bool in_part = piece && weight.data() == nullptr;
  return {name, Tensor(nullptr, weight.dtype(), weight.shape(), weight.rank()), in_part ? piece->begin : 0,
          in_part ? piece->weight : flat(weight)};
}

}  // namespace moe
