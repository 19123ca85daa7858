// SPDX-License-Identifier: MIT
// What the row loops of all families share: reading and writing rows of f32, bf16 or f16, an exp that the
// compiler can vectorise, and sums in a fixed order. Plain C++ that g++ and clang turn into vector code; no
// intrinsics.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "base/bf16.h"
#include "base/error.h"
#include "base/f16.h"
#include "tensor/dtype.h"

namespace moe::cpu {

inline float to_float(float x) {
  return x;
}
inline float to_float(bf16 x) {
  return static_cast<float>(x);
}
inline float to_float(f16 x) {
  return static_cast<float>(x);
}

// T(x), rounded to nearest even when T is bf16 or f16.
template <class T>
T from_float(float x) {
  return T(x);
}

template <class T>
void load_row(float* __restrict out, const T* __restrict in, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = to_float(in[i]);
}

template <class T>
void store_row(T* __restrict out, const float* __restrict in, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    out[i] = from_float<T>(in[i]);  // NOLINT(clang-analyzer-core*): as in rotary.cpp
}

// Calls body(bf16{}) or body(f16{}).
template <class Body>
void with_16_bits(DType dtype, Body&& body) {
  if (dtype == DType::bf16) return body(bf16{});
  CHECK(dtype == DType::f16);
  body(f16{});
}

// Calls body(float{}), body(bf16{}) or body(f16{}): for methods whose activations may be any of them.
template <class Body>
void with_type(DType dtype, Body&& body) {
  if (dtype == DType::f32) return body(float{});
  with_16_bits(dtype, body);
}

// The same for weights and their gradients.
template <class Body>
void with_f32_or_bf16(DType dtype, Body&& body) {
  CHECK(dtype == DType::f32 || dtype == DType::bf16);
  if (dtype == DType::f32) return body(float{});
  body(bf16{});
}

// e^x = factor 2^n. x = n ln2 + r, |r| <= ln2/2; factor = e^r = 1 + r + r^2 p(r) with p of degree 4 by the
// Remez exchange (relative error 3e-9, far below the rounding of f32).
struct Exponential {
  static constexpr float kRound =
      12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits

  float factor;
  uint32_t bits;  // of n + kRound
};
inline Exponential exponential(float x) {
  constexpr float kRound = Exponential::kRound, kLog2e = 1.44269504F;
  constexpr float kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;  // Cody & Waite: n * high is exact
  const float shifted = x * kLog2e + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float p = 1.381454008e-3F;
  p = p * r + 8.368745108e-3F;
  p = p * r + 4.166839079e-2F;
  p = p * r + 1.666652040e-1F;
  p = p * r + 4.999999343e-1F;
  return {(p * r * r + r) + 1.0F, std::bit_cast<uint32_t>(shifted)};
}

// e^x within 2 ulp where the result is normal (tests/ops/vector_test.cpp); 0 for -inf, inf from 88.73 on, NaN
// for NaN.
inline float exp_approx(float x) {
  x = x < -104.0F ? -104.0F : x;  // below: 0.   These comparisons let NaN through.
  x = x > 89.0F ? 89.0F : x;      // above: inf
  const Exponential e = exponential(x);
  // 2^n in two halves, so that n = 128 and subnormal results need no special case.
  const auto power = static_cast<int32_t>(e.bits - std::bit_cast<uint32_t>(Exponential::kRound));
  const int32_t half = power >> 1;
  const float scale1 = std::bit_cast<float>((half + 127) << 23);
  const float scale2 = std::bit_cast<float>((power - half + 127) << 23);
  return e.factor * scale1 * scale2;
}

// The same for x <= 88, in two thirds of the time: 0 below -87, where e^x is 1.6e-38, so that 2^n is a normal
// number.
inline float exp_flushed(float x) {
  const Exponential e = exponential(x);
  const float scale = std::bit_cast<float>((e.bits << 23) + 0x3f800000U);  // kRound's own bits shift out
  return x < -87.0F ? 0.0F : e.factor * scale;
}

inline float sigmoid(float x) {
  return 1.0F / (1.0F + exp_approx(-x));
}

// Sums run in kLanes partial sums: a fixed order (so equal bits each time) that maps onto vector registers,
// with an error that grows with n / kLanes rather than n.
inline constexpr int64_t kLanes = 32;

// sum over i < n of term(i), a float.
template <class Term>
float sum_of(int64_t n, Term&& term) {
  std::array<float, kLanes> part{};
  const int64_t rest = n % kLanes, whole = n - rest;
  for (int64_t i = 0; i < whole; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane) part[static_cast<size_t>(lane)] += term(i + lane);
  for (int64_t lane = 0; lane < rest; ++lane) part[static_cast<size_t>(lane)] += term(whole + lane);
  for (size_t width = kLanes / 2; width > 0; width /= 2)
    for (size_t lane = 0; lane < width; ++lane) part[lane] += part[lane + width];
  return part[0];
}

template <class A, class B>
float dot(const A* a, const B* b, int64_t n) {
  // NOLINTNEXTLINE(clang-analyzer-core*): as in rotary.cpp
  return sum_of(n, [&](int64_t i) { return to_float(a[i]) * to_float(b[i]); });
}

// The largest of term(i) over i < n, n >= 1; NaN is passed over but in the first.
template <class Term>
float max_of(int64_t n, Term&& term) {
  std::array<float, kLanes> part;
  part.fill(term(0));
  const int64_t rest = n % kLanes, whole = n - rest;
  const auto take = [&](int64_t lane, float value) {
    float& best = part[static_cast<size_t>(lane)];
    best = value > best ? value : best;
  };
  for (int64_t i = 0; i < whole; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane) take(lane, term(i + lane));
  for (int64_t lane = 0; lane < rest; ++lane) take(lane, term(whole + lane));
  return *std::max_element(part.begin(), part.end());
}

template <class T>
float max_of(const T* x, int64_t n) {
  return max_of(n, [=](int64_t i) { return to_float(x[i]); });
}

}  // namespace moe::cpu
