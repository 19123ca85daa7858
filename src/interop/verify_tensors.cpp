// SPDX-License-Identifier: MIT
#include "interop/verify_tensors.h"

#include <fmt/format.h>

#include <bit>
#include <vector>

#include "base/error.h"
#include "checkpoint/safetensors_dtype.h"
#include "interop/hf_weights.h"
#include "interop/tensor_map.h"
#include "tensor/host_floats.h"

namespace moe::interop {
namespace {

class Comparison {
 public:
  Comparison(const HfWeights& theirs, const checkpoint::Safetensors& ours, Direction direction)
      : theirs_(theirs), ours_(ours), direction_(direction) {}

  // Returns whether no value was rounded.
  bool compare(const TensorMap& map, const std::string& folder, const OnBytes& on_bytes) {
    const checkpoint::Safetensors::Entry* const entry = ours_.find(map.ours);
    if (entry == nullptr) throw UserError(folder, "tensor " + map.ours + " of the run", "none");
    const DType here = checkpoint::dtype_of_safetensors(entry->dtype).value(), there = theirs_.type_of(map);
    const bool norm = map.kind == TensorMap::Kind::norm;
    bool exact = true;
    int64_t at = map.begin;
    theirs_.read(map, [&](std::span<const float> values) {
      piece_.resize(values.size());
      ours_.read_floats(*entry, at, piece_);
      expect(values, norm, direction_ == Direction::imported ? here : there);
      const std::span<const float> found = direction_ == Direction::imported ? piece_ : values;
      for (size_t i = 0; i < values.size(); ++i) {
        if (is(piece_[i], values[i])) continue;
        exact = false;
        // The weight of a norm may have been kept beside (moe_norms.safetensors).
        if (is(found[i], expected_[i]) || (norm && is((piece_[i] - 1) + 1, values[i]))) continue;
        throw UserError(fmt::format("{}: tensor {}, value {}", folder, map.theirs,
                                    at - map.begin + static_cast<int64_t>(i)),
                        fmt::format("{} as in the run's {}", piece_[i], map.ours),
                        fmt::format("{}", values[i]),
                        "the disk or the memory is faulty, or this is a bug: try again, then report it");
      }
      at += std::ssize(values);
      if (on_bytes) on_bytes(values.size() * size_of(there));
    });
    return exact;
  }

 private:
  static bool is(float one, float other) {
    return std::bit_cast<uint32_t>(one) == std::bit_cast<uint32_t>(other);
  }
  // What is to be found, of what was there before, in the type that it was written in.
  void expect(std::span<const float> values, bool norm, DType type) {
    const bool out = direction_ == Direction::exported;
    if (out)
      expected_ = piece_;
    else
      expected_.assign(values.begin(), values.end());
    const float shift = out && norm ? 1 : 0;  // theirs is kept less one, and read as one more
    if (type == DType::f32 && shift == 0) return;
    for (float& value : expected_) value -= shift;
    rounded_.resize(expected_.size() * size_of(type));
    narrow(rounded_.data(), expected_.data(), type, std::ssize(expected_));
    widen(expected_.data(), rounded_.data(), type, std::ssize(expected_));
    for (float& value : expected_) value += shift;
  }

  const HfWeights& theirs_;
  const checkpoint::Safetensors& ours_;
  const Direction direction_;
  std::vector<float> piece_, expected_;  // of ours, and as it should be
  std::vector<uint8_t> rounded_;
};

}  // namespace

VerifiedTensors verify_tensors(const std::filesystem::path& folder, const model::ModelConfig& config,
                               const checkpoint::Safetensors& ours, const Family& family, Direction direction,
                               const OnBytes& on_bytes) {
  const HfWeights theirs(folder);
  const std::vector<TensorMap> maps = tensors_of(family, config);
  theirs.check(maps, prediction_from(family, config));
  VerifiedTensors verified;
  Comparison comparison(theirs, ours, direction);
  for (const TensorMap& map : maps) {
    if (map.kind == TensorMap::Kind::zero) continue;  // check() has seen that it adds nothing
    verified.exact = comparison.compare(map, folder.string(), on_bytes) && verified.exact;
    ++verified.tensors;
    verified.values += map.numel();
  }
  return verified;
}

}  // namespace moe::interop
