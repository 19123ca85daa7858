// SPDX-License-Identifier: MIT
#include "gpu/gemm_algorithm_cache.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

// gemm_algorithms.S: the asset.
extern "C" {
extern const char moe_gemm_algorithms_begin[];
extern const char moe_gemm_algorithms_end[];
}

namespace moe::gpu {
namespace {

using Choices = std::map<std::string, GemmChoice>;  // by product

// {"product": [the eight words of an algorithm, parts], ...}: of one kind of GPU and version, in the asset
// and in the user's file.
Choices read_choices(const Json& json) {
  Choices choices;
  for (const auto& [product, words] : json.items()) {
    const auto values = words.get<std::vector<uint64_t>>();
    GemmChoice choice;
    if (values.size() != std::size(choice.algorithm.data) + 1 || values.back() == 0) continue;
    std::copy(values.begin(), values.end() - 1, choice.algorithm.data);
    choice.parts = static_cast<int64_t>(values.back());
    choices.emplace(product, choice);
  }
  return choices;
}

// Empty for a kind that the asset does not know.
Choices read_shipped(std::string_view text, const std::string& kind) {
  const Json asset = parse_json("gemm_algorithms.json", text);
  const auto found = asset.find(kind);
  return found == asset.end() ? Choices() : read_choices(*found);
}

// What is missing is chosen anew, and the file written again.
Choices read_own(const std::filesystem::path& file) {
  std::error_code error;
  if (file.empty() || !std::filesystem::exists(file, error)) return {};
  try {
    return read_choices(parse_json(file.string(), read_file(file)));
  } catch (const std::exception&) {
    return {};
  }
}

// Empty where there is no folder for caches.
std::filesystem::path choices_file(const std::string& kind) {
  try {
    return cache_folder() / "gpu" / (kind + ".json");
  } catch (const UserError&) {
    return {};
  }
}

}  // namespace

struct GemmAlgorithmCache::Table {
  const Choices shipped;
  const std::filesystem::path file;
  Choices own;
  mutable std::mutex mutex;  // guards own

  Table(std::string_view asset, const std::string& kind, std::filesystem::path path)
      : shipped(read_shipped(asset, kind)), file(std::move(path)), own(read_own(file)) {}
};

GemmAlgorithmCache::GemmAlgorithmCache(const std::string& gpu) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<Table>> tables;  // one for each kind of GPU in this process
  const std::lock_guard lock(mutex);
  auto& table = tables[gpu];
  if (table == nullptr) {
    const std::string kind = kind_of(gpu, cublasLtGetVersion());
    table = std::make_shared<Table>(asset(), kind, choices_file(kind));
  }
  table_ = table;
}

GemmAlgorithmCache::GemmAlgorithmCache(std::string_view shipped, const std::string& kind,
                                       const std::filesystem::path& file)
    : table_(std::make_shared<Table>(shipped, kind, file)) {}

std::string_view GemmAlgorithmCache::asset() {
  return {moe_gemm_algorithms_begin,
          static_cast<size_t>(moe_gemm_algorithms_end - moe_gemm_algorithms_begin)};
}

std::string GemmAlgorithmCache::kind_of(const std::string& gpu, size_t version) {
  std::string name = gpu;
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '-';
  return name + "-cublaslt-" + std::to_string(version);
}

std::optional<GemmChoice> GemmAlgorithmCache::find(const std::string& product) const {
  const std::lock_guard lock(table_->mutex);
  for (const Choices* const choices : {&std::as_const(table_->own), &table_->shipped})
    if (const auto found = choices->find(product); found != choices->end()) return found->second;
  return std::nullopt;
}

void GemmAlgorithmCache::keep(const std::string& product, const GemmChoice& choice) {
  const std::lock_guard lock(table_->mutex);
  table_->own[product] = choice;
  if (table_->file.empty()) return;
  Json json;
  for (const auto& [name, kept] : table_->own) {
    std::vector<uint64_t> values(std::begin(kept.algorithm.data), std::end(kept.algorithm.data));
    values.push_back(static_cast<uint64_t>(kept.parts));
    json[name] = values;
  }
  try {
    std::filesystem::create_directories(table_->file.parent_path());
    write_file_atomically(table_->file, json.dump(0) + "\n");
  } catch (const std::exception&) {
    // A full disk or a read-only home must not end a training run; the choice holds until its end.
  }
}

size_t GemmAlgorithmCache::shipped() const {
  return table_->shipped.size();
}

}  // namespace moe::gpu
