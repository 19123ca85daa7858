// SPDX-License-Identifier: MIT
#include "tensor/host_floats.h"

#include <algorithm>
#include <cstring>

#include "base/bf16.h"
#include "base/error.h"
#include "base/f16.h"

namespace moe {
namespace {

// Bytes of a file need not be aligned.
template <class T>
void widen_as(float* to, const void* from, int64_t n) {
  const char* bytes = static_cast<const char*>(from);
  for (int64_t i = 0; i < n; ++i, bytes += sizeof(T)) {
    T x;
    std::memcpy(&x, bytes, sizeof(T));
    to[i] = static_cast<float>(x);
  }
}

template <class T>
void narrow_as(void* to, const float* from, int64_t n) {
  std::transform(from, from + n, static_cast<T*>(to), [](float x) { return T(x); });
}

}  // namespace

void widen(float* to, const void* from, DType type, int64_t n) {
  switch (type) {
    case DType::f32:
      std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
      return;
    case DType::bf16:
      return widen_as<bf16>(to, from, n);
    case DType::f16:
      return widen_as<f16>(to, from, n);
    default:
      CHECK(false, "not a float type");
  }
}

void narrow(void* to, const float* from, DType type, int64_t n) {
  switch (type) {
    case DType::f32:
      std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
      return;
    case DType::bf16:
      return narrow_as<bf16>(to, from, n);
    case DType::f16:
      return narrow_as<f16>(to, from, n);
    default:
      CHECK(false, "not a float type");
  }
}

std::vector<float> host_floats(const Tensor& x, Device& device) {
  std::vector<float> values(static_cast<size_t>(x.numel()));
  std::vector<uint8_t> raw(static_cast<size_t>(x.bytes()));
  device.to_host(raw.data(), x);
  widen(values.data(), raw.data(), x.dtype(), x.numel());
  return values;
}

void upload_floats(Tensor to, std::span<const float> values, Device& device) {
  CHECK(to.numel() == std::ssize(values), to.describe());
  if (to.dtype() == DType::f32) return device.to_device(to, values.data());
  std::vector<uint8_t> raw(static_cast<size_t>(to.bytes()));
  narrow(raw.data(), values.data(), to.dtype(), to.numel());
  device.to_device(to, raw.data());
}

}  // namespace moe
