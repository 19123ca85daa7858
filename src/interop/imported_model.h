// SPDX-License-Identifier: MIT
// What a run keeps of the model that it was imported from, so that an export into the same family is that
// model again where nothing was changed: imported.json (the family, the types of its tensors, which tokenizer
// it had), and its small files byte for byte in the folder imported/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "interop/family.h"
#include "interop/tensor_map.h"
#include "interop/tokenizer_files.h"
#include "model/config.h"
#include "tensor/dtype.h"

namespace moe::interop {

// The types of tensors in the files.
struct StoredTypes {
  // Not explicit: one type is the rule.
  StoredTypes(DType type) : all(type) {}  // NOLINT(google-explicit-constructor)
  // Of a tensor: its own, or that of all; routers and norms of our own family stay f32.
  DType of(const TensorMap& tensor) const;

  DType all;
  std::map<std::string, DType> own = {};  // by their names, where it differs from that of all
  bool as_imported = false;               // own is all that there is to say
};

struct ImportedModel {
  std::string family;
  std::optional<StoredTypes> types;  // nothing: the run is not the model that was imported
  std::string tokenizer;             // the fingerprint of the folder's own; "": it had none that moe reads
  std::vector<TokenizerFile> files;  // the small ones, by name

  const std::string* file(std::string_view name) const;  // its text; null where there is none
};

// Whether import keeps the file, by its name.
bool is_kept_file(std::string_view name);

// Into the folder of a run. from: the folder of the model. types: by their names.
void keep_imported(const std::filesystem::path& run, const std::filesystem::path& from, const Family& family,
                   const std::map<std::string, DType>& types, const std::string& tokenizer);
// Of another run, which this one was made from; where the family differs, without settings and types.
void keep_imported_of(const std::filesystem::path& run, const std::filesystem::path& from,
                      const Family& family);
// Nothing where the run was not imported. Throws UserError.
std::optional<ImportedModel> read_imported(const std::filesystem::path& run);

// The settings of an export into the family of `original`, a config.json: its keys as they are, but for those
// that say what the run has changed. One for the length of rows stays when the run's are shorter: the model
// takes them still. type: nothing when tensors have the types that they came with. end_of_text: nothing when
// the tokenizer is the original's. zero_blocks: as for hf_config_json(), whatever the original has.
std::string config_like(const std::string& where, const std::string& original,
                        const model::ModelConfig& config, const Family& family, std::optional<DType> type,
                        std::optional<int64_t> end_of_text, bool zero_blocks = false);

}  // namespace moe::interop
