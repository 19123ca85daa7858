// SPDX-License-Identifier: MIT
#include "checkpoint/mean.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "checkpoint/finite.h"
#include "checkpoint/safetensors_dtype.h"

namespace moe::checkpoint {
namespace {

using Entry = Safetensors::Entry;

constexpr size_t kPiece = size_t{1} << 16;  // elements

std::string describe(const Entry& entry) {
  return fmt::format("{} [{}]", entry.dtype, fmt::join(entry.shape, ", "));
}

DType type_of(const MeanPart& part, const Entry& entry) {
  const auto type = dtype_of_safetensors(entry.dtype);
  if (type != DType::f32 && type != DType::bf16)
    throw UserError(fmt::format("{}: tensor {}", part.where, entry.name), "F32 or BF16", entry.dtype);
  return *type;
}

// Both ways: a tensor of only one of the two is named.
void expect_same(const MeanPart& first, const MeanPart& other) {
  for (const Entry& entry : other.file->entries())
    if (!first.file->contains(entry.name))
      throw UserError(other.where, "the tensors of " + first.where, entry.name + " beside them",
                      "only checkpoints of one model can be merged");
  for (const Entry& entry : first.file->entries()) {
    const Entry* const found = other.file->find(entry.name);
    if (found == nullptr || found->dtype != entry.dtype || found->shape != entry.shape)
      throw UserError(fmt::format("{}: tensor {}", other.where, entry.name),
                      fmt::format("{}, as in {}", describe(entry), first.where),
                      found == nullptr ? "none" : describe(*found),
                      "only checkpoints of one model can be merged");
  }
}

template <class T>
T rounded(double x) {
  if constexpr (std::is_same_v<T, bf16>)
    return nearest_bf16(x);
  else
    return static_cast<T>(x);
}

// One tensor of all files.
struct Mean {
  struct Term {
    std::string where;
    std::span<const uint8_t> bytes;
    double weight;
  };
  std::string dtype;
  std::vector<Term> terms;
  double weight = 0;  // of all

  template <class T>
  void write(const TensorStream::Sink& sink) const {
    const size_t n = terms.front().bytes.size() / sizeof(T);
    std::vector<double> sum(std::min(n, kPiece));
    std::vector<T> values(sum.size());
    for (size_t begin = 0; begin < n; begin += kPiece) {
      const size_t count = std::min(kPiece, n - begin);
      std::fill(sum.begin(), sum.end(), 0);
      for (const Term& term : terms) {
        const auto bytes = term.bytes.subspan(begin * sizeof(T), count * sizeof(T));
        require_finite(term.where, dtype, bytes, static_cast<int64_t>(begin));
        std::memcpy(values.data(), bytes.data(), bytes.size());
        for (size_t i = 0; i < count; ++i)
          sum[i] += term.weight * static_cast<double>(static_cast<float>(values[i]));
      }
      for (size_t i = 0; i < count; ++i) values[i] = rounded<T>(sum[i] / weight);
      const std::span result(reinterpret_cast<const uint8_t*>(values.data()), count * sizeof(T));
      require_finite("the mean of " + terms.front().where, dtype, result, static_cast<int64_t>(begin));
      sink(result.data(), result.size());
    }
  }
};

}  // namespace

bf16 nearest_bf16(double x) {
  // An f32 whose last bit says that more follows (round to odd) rounds to bf16 as x itself would: it has more
  // than two bits to spare (Boldo and Melquiond 2008).
  auto near = static_cast<float>(x);
  if (std::isfinite(near) && static_cast<double>(near) != x) {
    if (std::abs(static_cast<double>(near)) > std::abs(x)) near = std::nextafter(near, 0.0F);
    near = std::bit_cast<float>(std::bit_cast<uint32_t>(near) | 1U);
  }
  return bf16(near);
}

std::vector<TensorStream> mean_streams(const std::vector<MeanPart>& parts) {
  CHECK(!parts.empty());
  for (const MeanPart& part : parts) expect_same(parts.front(), part);
  std::vector<TensorStream> streams;
  for (const Entry& entry : parts.front().file->entries()) {
    const DType type = type_of(parts.front(), entry);
    Mean mean{.dtype = entry.dtype, .terms = {}, .weight = 0};
    for (const MeanPart& part : parts) {
      mean.terms.push_back({.where = fmt::format("{}: tensor {}", part.where, entry.name),
                            .bytes = part.file->bytes(*part.file->find(entry.name)),
                            .weight = part.weight});
      mean.weight += part.weight;
    }
    streams.push_back({entry.name, type, entry.shape, [mean, type](const TensorStream::Sink& sink) {
                         if (type == DType::bf16)
                           mean.write<bf16>(sink);
                         else
                           mean.write<float>(sink);
                       }});
  }
  return streams;
}

}  // namespace moe::checkpoint
