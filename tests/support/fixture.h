// SPDX-License-Identifier: MIT
// The fixture of all tests of operations: a device, its Ops, and tensors that live as long as the test.
// Random values are named, so a case can be read and repeated; bf16 and f16 tensors hold rounded values.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/random.h"
#include "support/test_device.h"
#include "tensor/tensor.h"

namespace moe::test {

inline constexpr DType kActivations[] = {DType::f32, DType::bf16, DType::f16};
inline constexpr DType kHalves[] = {DType::bf16, DType::f16};  // the types of 16 bits

// A device and the tensors made on it. threads: of a CPU.
class Machine {
 public:
  explicit Machine(int threads = 2, Arithmetic arithmetic = {},
                   DeviceKind kind = value_named<DeviceKind>(test_device()).value())
      : backend_(backend::make_backend(kind, threads, arithmetic)) {}
  ~Machine() {
    for (void* memory : memory_) device().release(memory);
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  Ops& ops() { return *backend_.ops; }
  Device& device() { return *backend_.device; }

  Tensor zeros(DType dtype, const std::vector<int64_t>& shape) {
    Tensor tensor(nullptr, dtype, shape.data(), static_cast<int>(shape.size()));
    memory_.push_back(device().allocate(tensor.bytes()));
    return {memory_.back(), dtype, shape.data(), static_cast<int>(shape.size())};
  }

  // The values, converted to `dtype` (of any type).
  template <class T>
  Tensor of(DType dtype, const std::vector<int64_t>& shape, const std::vector<T>& values) {
    Tensor tensor = zeros(dtype, shape);
    set(tensor, values);
    return tensor;
  }

  // scale * standard normal values; the same for the same name and shape on every machine.
  Tensor normal(std::string_view name, DType dtype, const std::vector<int64_t>& shape, float scale = 1) {
    Tensor tensor = zeros(dtype, shape);
    const Random random(1, name);
    std::vector<float> values(static_cast<size_t>(tensor.numel()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = scale * random.normal(i);
    set(tensor, values);
    return tensor;
  }

  template <class T>
  void set(Tensor tensor, const std::vector<T>& values) {
    ASSERT_EQ(values.size(), static_cast<size_t>(tensor.numel()));
    switch (tensor.dtype()) {
      case DType::f32:
        return upload<float>(tensor, values);
      case DType::bf16:
        return upload<bf16>(tensor, values);
      case DType::f16:
        return upload<f16>(tensor, values);
      case DType::f64:
        return upload<double>(tensor, values);
      case DType::i32:
        return upload<int32_t>(tensor, values);
      case DType::u8:
        return upload<uint8_t>(tensor, values);
      case DType::e4m3:
        return upload<e4m3>(tensor, values);
      case DType::e5m2:
        return upload<e5m2>(tensor, values);
    }
  }

  // The elements of any tensor, as doubles (exact for every DType).
  std::vector<double> values(const Tensor& tensor) {
    switch (tensor.dtype()) {
      case DType::f32:
        return download<float>(tensor);
      case DType::bf16:
        return download<bf16>(tensor);
      case DType::f16:
        return download<f16>(tensor);
      case DType::f64:
        return download<double>(tensor);
      case DType::i32:
        return download<int32_t>(tensor);
      case DType::u8:
        return download<uint8_t>(tensor);
      case DType::e4m3:
        return download<e4m3>(tensor);
      case DType::e5m2:
        return download<e5m2>(tensor);
    }
    return {};
  }

  // The bytes of a tensor, to compare results bit for bit.
  std::vector<uint8_t> bytes(const Tensor& tensor) {
    std::vector<uint8_t> host(static_cast<size_t>(tensor.bytes()));
    device().to_host(host.data(), tensor);
    return host;
  }

 private:
  template <class To, class From>
  static To convert(From value) {
    if constexpr (std::is_class_v<From>)
      return static_cast<To>(static_cast<float>(value));
    else if constexpr (std::is_class_v<To>)
      return To(static_cast<float>(value));
    else
      return static_cast<To>(value);
  }
  template <class To, class From>
  void upload(Tensor tensor, const std::vector<From>& values) {
    std::vector<To> host;
    host.reserve(values.size());
    for (const From& value : values) host.push_back(convert<To>(value));
    device().to_device(tensor, host.data());
  }
  template <class From>
  std::vector<double> download(const Tensor& tensor) {
    std::vector<From> host(static_cast<size_t>(tensor.numel()));
    device().to_host(host.data(), tensor);
    std::vector<double> result;
    result.reserve(host.size());
    for (const From& value : host) result.push_back(convert<double>(value));
    return result;
  }

  backend::Backend backend_;
  std::vector<void*> memory_;
};

// Base of the test suites of operations: `TEST_F(MatmulTest, ...) { ops().matmul(...); }`.
class OpsTest : public testing::Test, public Machine {
 public:
  explicit OpsTest(Arithmetic arithmetic = {},
                   DeviceKind kind = value_named<DeviceKind>(test_device()).value())
      : Machine(2, arithmetic, kind) {}
};

}  // namespace moe::test
