// SPDX-License-Identifier: MIT
#include "interop/hf_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/file.h"
#include "base/json.h"
#include "checkpoint/finite.h"
#include "checkpoint/safetensors_dtype.h"
#include "tensor/host_floats.h"

namespace moe::interop {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAgain = "copy or download the folder again";
constexpr int64_t kPiece = int64_t{1} << 18;  // values converted at a time
constexpr std::string_view kHead = "lm_head.weight";

bool is_old_rotary(std::string_view name) {
  return name.ends_with(".rotary_emb.inv_freq");
}

[[noreturn]] void refuse_left_over(const std::string& where, const std::string& name) {
  throw UserError(where, "only tensors that our model has", name);
}

// All names that the tensors may have.
std::set<std::string, std::less<>> known_names(const std::vector<TensorMap>& wanted) {
  std::set<std::string, std::less<>> known;
  for (const TensorMap& tensor : wanted) {
    known.insert(tensor.theirs);
    if (tensor.fused) known.insert(tensor.fused->names.begin(), tensor.fused->names.end());
  }
  return known;
}

// What a layer of linear attention has, and a layer that predicts further tokens.
constexpr const char *kLinear = ".linear_attn.out_proj.weight", *kPrediction = ".eh_proj.weight";

// The block of a tensor, where it is one that our model has not: Qwen3-Next's "mtp", or one of those layers
// from `from` on; else "". `has` says whether there is a tensor of a name.
std::string further_block(const std::string& name, int64_t from, const auto& has) {
  constexpr std::string_view prefix = "model.layers.";
  if (name.starts_with("mtp.")) return "mtp";
  const char* const end = name.data() + name.size();
  if (!name.starts_with(prefix)) return "";
  int64_t layer = 0;
  const auto [rest, error] = std::from_chars(name.data() + prefix.size(), end, layer);
  if (error != std::errc() || layer < from || rest == end || *rest != '.') return "";
  std::string head(name.data(), rest);
  return has(head + kPrediction) || has(head + kLinear) ? head : "";
}

}  // namespace

std::map<std::string, std::string> read_shard_index(const std::string& where, std::string_view text) {
  const Json json = parse_json(where, text, kAgain);
  std::map<std::string, std::string> map;
  for (const auto& [name, file] : JsonFields(where, json, kAgain).inside("weight_map").value().items()) {
    const auto shard = file.is_string() ? file.get<std::string>() : std::string();
    if (!shard.ends_with(".safetensors") ||
        shard.find_first_of(std::string_view("/\0", 2)) != std::string::npos)
      throw UserError(where, fmt::format("the name of a .safetensors file for {}", excerpt(name)),
                      quote(file), kAgain);
    map.emplace(name, shard);
  }
  return map;
}

void check_shard_index(const std::string& where, const std::map<std::string, std::string>& index,
                       const std::vector<TensorMap>& wanted, std::optional<int64_t> prediction_from) {
  const auto has = [&](const std::string& name) { return index.contains(name); };
  for (const TensorMap& tensor : wanted)
    if (!has(tensor.theirs) && !(tensor.fused && std::ranges::any_of(tensor.fused->names, has)))
      throw UserError(where, "tensor " + tensor.theirs, fmt::format("none among the {} there", index.size()),
                      kAgain);
  const auto known = known_names(wanted);
  for (const auto& [name, file] : index)
    if (!known.contains(name) && !is_old_rotary(name) && name != kHead &&
        !(prediction_from && !further_block(name, *prediction_from, has).empty()))
      refuse_left_over(where, name);
}

HfWeights::HfWeights(const fs::path& folder) : where_(folder.string()) {
  const auto open = [&](const std::string& name) {
    if (files_.contains(name)) return;
    if (!fs::exists(folder / name))
      throw UserError((folder / name).string(), "a file of the model", "no such file", kAgain);
    files_.emplace(name, checkpoint::Safetensors(folder / name));
  };
  if (fs::exists(folder / kShardIndex)) {
    const std::string index = (folder / kShardIndex).string();
    for (auto& [name, shard] : read_shard_index(index, read_file(index))) {
      open(shard);
      if (!files_.at(shard).contains(name))
        throw UserError((folder / shard).string(), "tensor " + name + ", as the index says", "none", kAgain);
    }
  } else {
    open(kSingleFile);
  }
  for (const auto& [file, contents] : files_)
    for (const auto& entry : contents.entries())
      if (!file_of_.emplace(entry.name, file).second)
        throw UserError((folder / file).string(), "each tensor in one file", entry.name + " in two", kAgain);
}

const checkpoint::Safetensors::Entry* HfWeights::find(const std::string& name,
                                                      const checkpoint::Safetensors** file) const {
  const auto found = file_of_.find(name);
  if (found == file_of_.end()) return nullptr;
  *file = &files_.at(found->second);
  return (*file)->find(name);
}

HfWeights::Slice HfWeights::slice(const TensorMap& tensor) const {
  const checkpoint::Safetensors* file = nullptr;
  const checkpoint::Safetensors::Entry* entry = find(tensor.theirs, &file);
  if (entry == nullptr) return fused_slice(tensor);
  return {entry->dtype, entry->shape, file->bytes(*entry)};
}

HfWeights::Slice HfWeights::fused_slice(const TensorMap& tensor) const {
  const checkpoint::Safetensors* file = nullptr;
  const checkpoint::Safetensors::Entry* entry = nullptr;
  if (tensor.fused)
    for (const std::string& name : tensor.fused->names)
      if (entry == nullptr) entry = find(name, &file);
  if (entry == nullptr)
    throw UserError(where_, "tensor " + tensor.theirs,
                    fmt::format("none among the {} there", file_of_.size()), kAgain);
  const auto& [names, expert, part, parts] = *tensor.fused;
  const auto& shape = entry->shape;
  if (shape.size() != 3 || expert >= shape[0] || shape[1] % parts != 0) return {entry->dtype, shape, {}};
  const auto bytes = file->bytes(*entry);
  const size_t size = bytes.size() / static_cast<size_t>(shape[0] * parts);
  return {entry->dtype,
          {shape[1] / parts, shape[2]},
          bytes.subspan(size * static_cast<size_t>(expert * parts + part), size)};
}

bool HfWeights::is_needless(const std::string& name) const {
  if (is_old_rotary(name)) return true;
  if (name != kHead) return false;
  const checkpoint::Safetensors *head_file = nullptr, *file = nullptr;
  const auto* head = find(name, &head_file);
  const auto* embedding = find("model.embed_tokens.weight", &file);
  return embedding != nullptr && head->dtype == embedding->dtype && head->shape == embedding->shape &&
         std::ranges::equal(head_file->bytes(*head), file->bytes(*embedding));
}

bool HfWeights::is_zero(const std::string& name) const {
  const checkpoint::Safetensors* file = nullptr;
  const checkpoint::Safetensors::Entry* const entry = find(name, &file);
  return std::ranges::all_of(file->bytes(*entry), [](uint8_t byte) { return byte == 0; });
}

std::set<std::string> HfWeights::check(const std::vector<TensorMap>& wanted,
                                       std::optional<int64_t> prediction_from) const {
  for (const TensorMap& tensor : wanted) {
    const Slice found = slice(tensor);
    const std::string where = fmt::format("{}: tensor {}", where_, tensor.theirs);
    if (found.shape != tensor.shape)
      throw UserError(where, fmt::format("shape [{}], as config.json says", fmt::join(tensor.shape, ", ")),
                      fmt::format("[{}]", fmt::join(found.shape, ", ")));
    if (found.dtype != "F32" && found.dtype != "BF16" && found.dtype != "F16")
      throw UserError(where, "type F32, BF16 or F16", found.dtype, "quantised models are not imported");
    // Without its last product the shared expert adds nothing, whatever the others hold.
    const bool adds = tensor.kind == TensorMap::Kind::zero && tensor.theirs.ends_with("down_proj.weight");
    if (adds && std::any_of(found.bytes.begin(), found.bytes.end(), [](uint8_t byte) { return byte != 0; }))
      throw UserError(where, "zeros: a shared expert of width 1 stands for none", "other values");
  }
  const auto known = known_names(wanted);
  std::set<std::string> left_out;
  for (const auto& [name, file] : file_of_) {
    if (known.contains(name) || is_needless(name)) continue;
    const auto has = [this](const std::string& other) { return file_of_.contains(other); };
    std::string block;
    if (prediction_from) block = further_block(name, *prediction_from, has);
    if (block.empty()) refuse_left_over(fmt::format("{}: {}", where_, file), name);
    if (is_zero(name)) continue;
    if (has(block + kLinear))
      throw UserError(fmt::format("{}: tensor {}", where_, name), "zeros: they stand for no layer",
                      "other values", "moe has no layers of linear attention (docs/interop.md)");
    left_out.insert(std::move(block));
  }
  return left_out;
}

DType HfWeights::type_of(const TensorMap& tensor) const {
  return checkpoint::dtype_of_safetensors(slice(tensor).dtype).value();  // one that check() lets pass
}

void HfWeights::read(const TensorMap& tensor, const std::function<void(std::span<const float>)>& sink) const {
  const Slice found = slice(tensor);
  const DType type =
      checkpoint::dtype_of_safetensors(found.dtype).value();  // one of those that check() lets pass
  const size_t width = size_of(type);
  std::vector<float> values(static_cast<size_t>(std::min(tensor.numel(), kPiece)));
  for (const TensorMap::Run& run : tensor.in_our_order())
    for (int64_t done = 0; done < run.count; done += kPiece) {
      const int64_t begin = run.theirs + done;
      const std::span<float> piece(values.data(), static_cast<size_t>(std::min(kPiece, run.count - done)));
      const auto bytes = found.bytes.subspan(static_cast<size_t>(begin) * width, piece.size() * width);
      checkpoint::require_finite(fmt::format("{}: tensor {}", where_, tensor.theirs), found.dtype, bytes,
                                 begin);
      widen(piece.data(), bytes.data(), type, std::ssize(piece));
      if (tensor.kind == TensorMap::Kind::norm)
        for (float& value : piece) value += 1;
      sink(piece);
    }
}

}  // namespace moe::interop
