// SPDX-License-Identifier: MIT
#include "gpu/gemm_algorithm_cache.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <mutex>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace moe::gpu {
namespace {

std::string file_name(std::string gpu) {
  for (char& c : gpu)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '-';
  return gpu + "-cublaslt-" + std::to_string(cublasLtGetVersion()) + ".json";
}

// Empty where there is no folder for caches.
std::filesystem::path choices_file(const std::string& gpu) {
  try {
    return cache_folder() / "gpu" / file_name(gpu);
  } catch (const UserError&) {
    return {};
  }
}

}  // namespace

struct GemmAlgorithmCache::Table {
  explicit Table(std::filesystem::path path) : file(std::move(path)) {
    std::error_code error;
    if (file.empty() || !std::filesystem::exists(file, error)) return;
    try {
      const auto stored = parse_json(file.string(), read_file(file));
      for (const auto& [product, words] : stored.items()) {
        const auto values = words.get<std::vector<uint64_t>>();
        GemmChoice choice;
        if (values.size() != std::size(choice.algorithm.data) + 1 || values.back() == 0) continue;
        std::copy(values.begin(), values.end() - 1, choice.algorithm.data);
        choice.parts = static_cast<int64_t>(values.back());
        choices.emplace(product, choice);
      }
    } catch (const std::exception&) {
      // damaged: what is missing is chosen anew, and the file written again
    }
  }

  const std::filesystem::path file;
  std::mutex mutex;  // guards choices
  std::map<std::string, GemmChoice> choices;
};

GemmAlgorithmCache::GemmAlgorithmCache(const std::string& gpu) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<Table>> tables;  // one for each kind of GPU in this process
  const std::lock_guard lock(mutex);
  auto& table = tables[gpu];
  if (table == nullptr) table = std::make_shared<Table>(choices_file(gpu));
  table_ = table;
}

std::optional<GemmChoice> GemmAlgorithmCache::find(const std::string& product) const {
  const std::lock_guard lock(table_->mutex);
  const auto found = table_->choices.find(product);
  return found == table_->choices.end() ? std::nullopt : std::optional(found->second);
}

void GemmAlgorithmCache::keep(const std::string& product, const GemmChoice& choice) {
  const std::lock_guard lock(table_->mutex);
  table_->choices[product] = choice;
  if (table_->file.empty()) return;
  Json json;
  for (const auto& [name, kept] : table_->choices) {
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

}  // namespace moe::gpu
