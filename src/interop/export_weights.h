// SPDX-License-Identifier: MIT
// The weights of a checkpoint as safetensors files of the Hugging Face format, and back. Both stream: a
// tensor is read from a mapped file, converted and written in pieces.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "interop/family.h"
#include "interop/hf_weights.h"
#include "interop/imported_model.h"
#include "interop/tensor_map.h"
#include "model/config.h"
#include "tensor/dtype.h"

namespace moe::interop {

using OnBytes = std::function<void(uint64_t bytes)>;  // for progress

struct ExportedWeights {
  int64_t files = 0;
  uint64_t bytes = 0;         // of the tensors
  uint64_t zero_bytes = 0;    // of these, of blocks of zeros
  int64_t rounded_norms = 0;  // norm weights w below 0.5 for which w - 1 and 1 added again is not w
};

// Into `folder`: model.safetensors, or shards of at most `shard_bytes` (one tensor may be more) and their
// index.
// model: under our names, f32 or bf16. types: f32, bf16 or f16, of all tensors or of each; of all, routers
// and norms stay f32 in our own family, and others' routers or their biases where the table says so. Where a
// norm weight does not survive "less one", all norms are kept beside in moe_norms.safetensors, which only
// import reads. zero_blocks: with those of zero_blocks_of() at the end.
ExportedWeights export_weights(const std::filesystem::path& folder, const model::ModelConfig& config,
                               const checkpoint::Safetensors& model, const StoredTypes& types,
                               uint64_t shard_bytes, const OnBytes& on_bytes = {},
                               const Family& family = own_family(), bool zero_blocks = false);

// A folder of the Hugging Face format as the tensors of our checkpoint.
class ImportedWeights {
 public:
  // Throws UserError when the folder's tensors are not exactly those of `config`.
  // master: the type of the run's matrices; values are rounded to nearest.
  ImportedWeights(const std::filesystem::path& folder, const model::ModelConfig& config, DType master,
                  const Family& family = own_family());
  ImportedWeights(const ImportedWeights&) = delete;
  ImportedWeights& operator=(const ImportedWeights&) = delete;

  // The type that each of their tensors has in the files, by their names.
  std::map<std::string, DType> types() const;
  // Under our names, in the run's types; they read from this object when they are written.
  std::vector<checkpoint::TensorStream> streams() const;
  // Layers of the folder that predict further tokens and that our model has not: "model.layers.46".
  const std::set<std::string>& left_out() const { return left_out_; }

 private:
  void write(const std::string& ours, DType type, const checkpoint::TensorStream::Sink& sink) const;

  std::vector<NamedTensor> shapes_;
  std::vector<TensorMap> maps_;
  HfWeights weights_;
  std::set<std::string> left_out_;
  std::unique_ptr<checkpoint::Safetensors> exact_norms_;
};

}  // namespace moe::interop
