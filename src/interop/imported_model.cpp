// SPDX-License-Identifier: MIT
#include "interop/imported_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "checkpoint/safetensors_dtype.h"
#include "interop/hf_config.h"

namespace moe::interop {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNote = "imported.json";
constexpr const char* kFiles = "imported";
constexpr const char* kHint = "give --family";

std::vector<std::string> kept_names(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    if (is_kept_file(entry.path().filename().string()) && entry.is_regular_file(ignored))
      names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

void copy_files(const fs::path& run, const fs::path& from, bool settings) {
  const fs::path to = run / kFiles;
  make_folders(to);
  for (const std::string& name : kept_names(from))
    if (settings || name != "config.json") write_file_atomically(to / name, read_file(from / name));
}

DType read_type(const JsonFields& json, const char* key) {
  const auto type = checkpoint::dtype_of_safetensors(json.text(key));
  if (!type) json.refuse(key, "F32, BF16 or F16", quote(json.at(key)));
  return *type;
}

StoredTypes read_types(const JsonFields& json) {
  StoredTypes types = read_type(json, "dtype");
  types.as_imported = true;
  if (!json.has("dtypes")) return types;
  const JsonFields own = json.inside("dtypes");
  for (const auto& [name, type] : own.value().items()) types.own[name] = read_type(own, name.c_str());
  return types;
}

void add_types(OrderedJson& note, const std::map<std::string, DType>& types) {
  std::map<DType, int64_t> count;
  for (const auto& [name, type] : types) ++count[type];
  const auto most = std::ranges::max_element(count, {}, [](const auto& one) { return one.second; })->first;
  note["dtype"] = checkpoint::safetensors_name(most);
  for (const auto& [name, type] : types)
    if (type != most) note["dtypes"][name] = checkpoint::safetensors_name(type);
}

void write_note(const fs::path& run, const OrderedJson& note) {
  write_file_atomically(run / kNote, note.dump(1) + "\n");
}

// What our own writer says of the model, without what training and the tokenizer decide.
OrderedJson written(const model::ModelConfig& config, const Family& family, bool zero_blocks) {
  OrderedJson json =
      parse_ordered_json("config.json", hf_config_json(config, DType::f32, 0, family, zero_blocks));
  for (const char* key : {"dtype", "bos_token_id", "eos_token_id"}) json.erase(key);
  return json;
}

}  // namespace

DType StoredTypes::of(const TensorMap& tensor) const {
  const auto found = own.find(tensor.theirs);
  if (found != own.end()) return found->second;
  return tensor.keep_f32 && !as_imported ? DType::f32 : all;
}

const std::string* ImportedModel::file(std::string_view name) const {
  const auto found =
      std::ranges::find_if(files, [&](const TokenizerFile& file) { return file.name == name; });
  return found == files.end() ? nullptr : &found->text;
}

bool is_kept_file(std::string_view name) {
  constexpr std::string_view kNames[] = {"config.json",
                                         "generation_config.json",
                                         "chat_template.jinja",
                                         "chat_template.json",
                                         "tokenizer.json",
                                         "tokenizer_config.json",
                                         "special_tokens_map.json",
                                         "added_tokens.json",
                                         "vocab.json",
                                         "merges.txt",
                                         "tekken.json",
                                         "tokenizer.model"};
  return std::ranges::find(kNames, name) != std::end(kNames) || name.ends_with(".tiktoken");
}

void keep_imported(const fs::path& run, const fs::path& from, const Family& family,
                   const std::map<std::string, DType>& types, const std::string& tokenizer) {
  copy_files(run, from, true);
  OrderedJson note{{"family", family.name}};
  if (!tokenizer.empty()) note["tokenizer"] = tokenizer;
  add_types(note, types);
  write_note(run, note);
}

void keep_imported_of(const fs::path& run, const fs::path& from, const Family& family) {
  OrderedJson note{{"family", family.name}};
  if (const auto imported = read_imported(from)) {
    const bool same = imported->family == family.name;
    copy_files(run, from / kFiles, same);
    if (!imported->tokenizer.empty()) note["tokenizer"] = imported->tokenizer;
    if (same && imported->types) {
      note["dtype"] = checkpoint::safetensors_name(imported->types->all);
      for (const auto& [name, type] : imported->types->own)
        note["dtypes"][name] = checkpoint::safetensors_name(type);
    }
  }
  write_note(run, note);
}

std::optional<ImportedModel> read_imported(const fs::path& run) {
  const std::string where = (run / kNote).string();
  if (!fs::exists(where)) return std::nullopt;
  const Json json = parse_json(where, read_file(where), kHint);
  const JsonFields note(where, json, kHint);
  ImportedModel imported{.family = note.text("family"), .types = {}, .tokenizer = {}, .files = {}};
  if (note.has("tokenizer")) imported.tokenizer = note.text("tokenizer");
  if (note.has("dtype")) imported.types = read_types(note);
  for (const std::string& name : kept_names(run / kFiles))
    imported.files.push_back({name, read_file(run / kFiles / name)});
  return imported;
}

std::string config_like(const std::string& where, const std::string& original,
                        const model::ModelConfig& config, const Family& family, std::optional<DType> type,
                        std::optional<int64_t> end_of_text, bool zero_blocks) {
  const HfModel before = read_hf_model(where, original);
  CHECK(before.family->name == family.name, "settings of another family");
  model::ModelConfig now = config;
  now.max_seq_len = std::max(now.max_seq_len, before.config.max_seq_len);
  const OrderedJson was = written(before.config, family, has_zero_blocks(where, original)),
                    is = written(now, family, zero_blocks);
  const OrderedJson theirs = parse_ordered_json(where, original);
  OrderedJson json = theirs;
  for (const auto& [key, value] : was.items())
    if (!is.contains(key)) json.erase(key);
  for (const auto& [key, value] : is.items())
    if (!was.contains(key) || was.at(key) != value) json[key] = value;
  if (type) {
    const bool old = json.contains("torch_dtype") && !json.contains("dtype");
    json[old ? "torch_dtype" : "dtype"] = hf_name_of(*type);
  }
  if (end_of_text)
    for (const char* key : {"bos_token_id", "eos_token_id"}) json[key] = *end_of_text;
  if (json == theirs) return original;
  std::string text = json.dump(2) + "\n";
  // A key of another time (rope_scaling beside rope_parameters) may say what was before.
  const auto agrees = [&] {
    try {
      model::ModelConfig again = read_hf_model(where, text).config;
      again.aux_loss_weight = now.aux_loss_weight;  // these two are written and not read
      again.init_std = now.init_std;
      return written(again, family, has_zero_blocks(where, text)) == is;
    } catch (const UserError&) {
      return false;
    }
  };
  if (!agrees()) {
    text = hf_config_json(now, type.value_or(DType::f32), end_of_text.value_or(0), family, zero_blocks);
    OrderedJson ours = parse_ordered_json(where, text);
    for (const char* key : {"dtype", "torch_dtype", "bos_token_id", "eos_token_id", "pad_token_id"})
      if (json.contains(key)) ours[key] = json.at(key);
    text = ours.dump(2) + "\n";
  }
  return text;
}

}  // namespace moe::interop
