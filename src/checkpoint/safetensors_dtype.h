// SPDX-License-Identifier: MIT
// The types of the safetensors format and their place in the reference library's order.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "tensor/dtype.h"

namespace moe::checkpoint {

constexpr std::string_view safetensors_name(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "F64";
    case DType::f32:
      return "F32";
    case DType::i32:
      return "I32";
    case DType::bf16:
      return "BF16";
    case DType::f16:
      return "F16";
    case DType::u8:
      return "U8";
    case DType::e4m3:
      return "F8_E4M3";
    case DType::e5m2:
      return "F8_E5M2";
  }
  return "?";
}

// Ours of that name, if we have it.
constexpr std::optional<DType> dtype_of_safetensors(std::string_view name) {
  for (const DType dtype : {DType::f64, DType::f32, DType::i32, DType::bf16, DType::f16, DType::u8})
    if (safetensors_name(dtype) == name) return dtype;
  return std::nullopt;
}

// (name, bits of one element), in the order in which the reference library compares types; files are written
// from the last to the first, so wider types come first and stay aligned.
inline constexpr std::array<std::pair<std::string_view, int>, 20> kSafetensorsTypes{{
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},   {"I8", 8},    {"F8_E5M2", 8},
    {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16}, {"BF16", 16}, {"I32", 32},
    {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},    {"I64", 64}, {"U64", 64},
}};

// Bits of one element; 0 for a name that is not of the format.
constexpr int safetensors_bits(std::string_view name) {
  for (const auto& [type, bits] : kSafetensorsTypes) {
    if (type == name) return bits;
  }
  return 0;
}

constexpr int safetensors_rank(DType dtype) {
  int rank = 0;
  while (kSafetensorsTypes.at(static_cast<size_t>(rank)).first != safetensors_name(dtype)) ++rank;
  return rank;
}

}  // namespace moe::checkpoint
