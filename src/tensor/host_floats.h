// SPDX-License-Identifier: MIT
// Values of any float type as f32 on the host, and back: logits to choose from, weights for files.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace moe {

// n values of type f32, bf16 or f16, `from` anywhere in memory; narrow rounds to nearest.
void widen(float* to, const void* from, DType type, int64_t n);
void narrow(void* to, const float* from, DType type, int64_t n);

// x: f32, bf16 or f16, on the device. Waits for it.
std::vector<float> host_floats(const Tensor& x, Device& device);
// to: f32, bf16 or f16, on the device, of as many elements.
void upload_floats(Tensor to, std::span<const float> values, Device& device);

}  // namespace moe
