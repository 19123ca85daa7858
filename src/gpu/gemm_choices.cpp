// SPDX-License-Identifier: MIT
#include "gpu/gemm_choices.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/file.h"

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

struct GemmChoices::Table {
  explicit Table(std::filesystem::path path) : file(std::move(path)) {
    std::error_code error;
    if (file.empty() || !std::filesystem::exists(file, error)) return;
    try {
      for (const auto& [product, words] : nlohmann::json::parse(read_file(file)).items()) {
        const auto values = words.get<std::vector<uint64_t>>();
        cublasLtMatmulAlgo_t algorithm{};
        if (values.size() != std::size(algorithm.data)) continue;
        std::copy(values.begin(), values.end(), algorithm.data);
        choices.emplace(product, algorithm);
      }
    } catch (const std::exception&) {
      // damaged: what is missing is chosen anew, and the file written again
    }
  }

  const std::filesystem::path file;
  std::mutex mutex;  // guards choices
  std::map<std::string, cublasLtMatmulAlgo_t> choices;
};

GemmChoices::GemmChoices(const std::string& gpu) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<Table>> tables;  // one for each kind of GPU in this process
  const std::lock_guard lock(mutex);
  auto& table = tables[gpu];
  if (table == nullptr) table = std::make_shared<Table>(choices_file(gpu));
  table_ = table;
}

std::optional<cublasLtMatmulAlgo_t> GemmChoices::find(const std::string& product) const {
  const std::lock_guard lock(table_->mutex);
  const auto found = table_->choices.find(product);
  return found == table_->choices.end() ? std::nullopt : std::optional(found->second);
}

void GemmChoices::keep(const std::string& product, const cublasLtMatmulAlgo_t& algorithm) {
  const std::lock_guard lock(table_->mutex);
  table_->choices[product] = algorithm;
  if (table_->file.empty()) return;
  nlohmann::json json;
  for (const auto& [name, choice] : table_->choices)
    json[name] = std::vector<uint64_t>(std::begin(choice.data), std::end(choice.data));
  try {
    std::filesystem::create_directories(table_->file.parent_path());
    write_file_atomically(table_->file, json.dump(0) + "\n");
  } catch (const std::exception&) {
    // A full disk or a read-only home must not end a training run; the choice holds until its end.
  }
}

}  // namespace moe::gpu
