// SPDX-License-Identifier: MIT
// The weights in a folder of the Hugging Face format: model.safetensors, or shards with their index. Mapped,
// not read: a tensor costs memory only while it is used. The index is untrusted input.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors.h"
#include "interop/tensor_map.h"
#include "tensor/dtype.h"

namespace moe::interop {

inline constexpr const char* kSingleFile = "model.safetensors";
inline constexpr const char* kShardIndex = "model.safetensors.index.json";

// {"weight_map": {tensor: file}}; files are plain names. Throws UserError naming `where`.
std::map<std::string, std::string> read_shard_index(const std::string& where, std::string_view text);
// Whether an index names the tensors that are wanted and no others, as HfWeights::check asks of the files:
// before they are there. Throws UserError.
void check_shard_index(const std::string& where, const std::map<std::string, std::string>& index,
                       const std::vector<TensorMap>& wanted, std::optional<int64_t> prediction_from = {});

class HfWeights {
 public:
  // Opens every file. Throws UserError when one is missing, damaged, or does not hold what the index says.
  explicit HfWeights(const std::filesystem::path& folder);

  // Whether exactly these tensors are there, in these shapes and of a type that can be read (F32, BF16, F16);
  // experts either one by one or fused (experts.gate_up_proj, experts.down_proj), a shared expert of width 1
  // zero. Two more may be there: a head that repeats the embedding it is tied to, and the rotary frequencies
  // of old files.
  // prediction_from: from this layer on, layers that predict further tokens (they have an eh_proj) may be
  // there, too, and the blocks of zero_blocks_of(). Returns those that are not zero, "model.layers.46" for
  // one. Throws UserError.
  std::set<std::string> check(const std::vector<TensorMap>& wanted,
                              std::optional<int64_t> prediction_from = {}) const;

  // The type that a tensor has in the files. checked before.
  DType type_of(const TensorMap& tensor) const;
  // The values of a tensor as they are to be in ours (a norm's plus one), in pieces. checked before. Throws
  // UserError where one is no number.
  void read(const TensorMap& tensor, const std::function<void(std::span<const float>)>& sink) const;

 private:
  struct Slice {
    std::string dtype;
    std::vector<int64_t> shape;  // of what was asked for
    std::span<const uint8_t> bytes;
  };
  const checkpoint::Safetensors::Entry* find(const std::string& name,
                                             const checkpoint::Safetensors** file) const;
  Slice slice(const TensorMap& tensor) const;
  Slice fused_slice(const TensorMap& tensor) const;
  bool is_needless(const std::string& name) const;
  bool is_zero(const std::string& name) const;

  std::string where_;
  std::map<std::string, checkpoint::Safetensors> files_;
  std::map<std::string, std::string, std::less<>> file_of_;
};

}  // namespace moe::interop
