// SPDX-License-Identifier: MIT
#include "comm/ordered_sum.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/error.h"
#include "comm/communicator.h"

namespace moe::comm {
namespace {

constexpr int64_t kPiece = 1024;  // so many sums stay in the first cache while the terms go by

// T: as stored; A: as added.
template <class T, class A>
void add(void* sum, std::span<const void* const> terms, int64_t n) {
  std::array<A, kPiece> total;
  for (int64_t begin = 0; begin < n; begin += kPiece) {
    const int64_t count = std::min(kPiece, n - begin);
    const T* const first = static_cast<const T*>(terms[0]) + begin;
    for (int64_t i = 0; i < count; ++i) total[static_cast<size_t>(i)] = static_cast<A>(first[i]);
    for (const void* const term : terms.subspan(1)) {
      const T* const x = static_cast<const T*>(term) + begin;
      for (int64_t i = 0; i < count; ++i) total[static_cast<size_t>(i)] += static_cast<A>(x[i]);
    }
    T* const y = static_cast<T*>(sum) + begin;
    for (int64_t i = 0; i < count; ++i) y[i] = static_cast<T>(total[static_cast<size_t>(i)]);
  }
}

}  // namespace

void ordered_sum(void* sum, std::span<const void* const> terms, int64_t n, DType type) {
  CHECK(!terms.empty());
  switch (type) {
    case DType::f32:
      return add<float, float>(sum, terms, n);
    case DType::f64:
      return add<double, double>(sum, terms, n);
    case DType::i32:
      return add<int32_t, int32_t>(sum, terms, n);
    case DType::bf16:
      return add<bf16, float>(sum, terms, n);
    default:
      CHECK(false, "no sums over ranks in " + std::string(name_of(type)));
  }
}

void add_up_ranks(std::span<double> values, Communicator& ranks) {
  std::vector<double> all(values.size() * static_cast<size_t>(ranks.size()));
  ranks.all_gather_bytes(std::as_writable_bytes(std::span(all)), std::as_bytes(values));
  std::fill(values.begin(), values.end(), 0.0);
  for (size_t i = 0; i < all.size(); ++i) values[i % values.size()] += all[i];
}

}  // namespace moe::comm
