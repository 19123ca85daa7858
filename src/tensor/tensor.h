// SPDX-License-Identifier: MIT
// A view of memory somewhere: pointer, dtype, shape; contiguous, row-major, owns nothing. Copying one is
// cheap. Names in the code carry the shape as a suffix in capitals: x_ND is [N, D].
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/error.h"
#include "tensor/dtype.h"

namespace moe {

class Tensor {
 public:
  static constexpr int kMaxRank = 4;

  Tensor() = default;  // "no tensor": empty() is true
  Tensor(void* data, DType dtype, std::initializer_list<int64_t> shape);
  Tensor(void* data, DType dtype, const int64_t* shape, int rank);

  bool empty() const { return rank_ == 0; }
  DType dtype() const { return dtype_; }
  int rank() const { return rank_; }
  int64_t dim(int i) const {
    CHECK(i >= 0 && i < rank_);
    return shape_[static_cast<size_t>(i)];
  }
  const int64_t* shape() const { return shape_.data(); }
  int64_t numel() const { return numel_; }
  int64_t bytes() const { return numel_ * static_cast<int64_t>(size_of(dtype_)); }

  // The memory as T; CHECKs the dtype. Inputs are passed as const Tensor&, whose accessors are const.
  template <class T>
  T* as() {
    CHECK(dtype_ == dtype_of<T>);
    return static_cast<T*>(data_);
  }
  template <class T>
  const T* as() const {
    CHECK(dtype_ == dtype_of<T>);
    return static_cast<const T*>(data_);
  }
  void* data() { return data_; }
  const void* data() const { return data_; }

  // Rows [begin, end) of the first dimension.
  Tensor rows(int64_t begin, int64_t end) const;
  // The same elements under another shape.
  Tensor reshape(std::initializer_list<int64_t> shape) const;

  bool has_shape(std::initializer_list<int64_t> shape) const;
  std::string describe() const;  // "bf16[4096, 1024]"

 private:
  void* data_ = nullptr;
  std::array<int64_t, kMaxRank> shape_{};
  int64_t numel_ = 0;
  int rank_ = 0;
  DType dtype_ = DType::f32;
};

}  // namespace moe
