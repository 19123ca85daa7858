// SPDX-License-Identifier: MIT
#include "tensor/tensor.h"

#include <algorithm>

namespace moe {

Tensor::Tensor(void* data, DType dtype, const int64_t* shape, int rank)
    : data_(data), numel_(1), rank_(rank), dtype_(dtype) {
  CHECK(rank >= 1 && rank <= kMaxRank);
  for (int i = 0; i < rank; ++i) {
    CHECK(shape[i] >= 0);
    shape_[static_cast<size_t>(i)] = shape[i];
    numel_ *= shape[i];
  }
}

Tensor::Tensor(void* data, DType dtype, std::initializer_list<int64_t> shape)
    : Tensor(data, dtype, shape.begin(), static_cast<int>(shape.size())) {}

Tensor Tensor::rows(int64_t begin, int64_t end) const {
  CHECK(rank_ >= 1 && begin >= 0 && begin <= end && end <= shape_[0]);
  const int64_t row_bytes = shape_[0] == 0 ? 0 : bytes() / shape_[0];
  auto shape = shape_;
  shape[0] = end - begin;
  char* const data = static_cast<char*>(data_);
  return {data == nullptr ? nullptr : data + begin * row_bytes, dtype_, shape.data(), rank_};
}

Tensor Tensor::reshape(std::initializer_list<int64_t> shape) const {
  Tensor view(data_, dtype_, shape);
  CHECK(view.numel_ == numel_, describe());
  return view;
}

bool Tensor::has_shape(std::initializer_list<int64_t> shape) const {
  return static_cast<size_t>(rank_) == shape.size() && std::equal(shape.begin(), shape.end(), shape_.begin());
}

std::string Tensor::describe() const {
  std::string text = std::string(name_of(dtype_)) + "[";
  for (int i = 0; i < rank_; ++i) text += (i ? ", " : "") + std::to_string(shape_[static_cast<size_t>(i)]);
  return text + "]";
}

}  // namespace moe
