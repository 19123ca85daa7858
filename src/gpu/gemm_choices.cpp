// SPDX-License-Identifier: MIT
#include "gpu/gemm_choices.h"

#include <algorithm>
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

GemmChoices::GemmChoices(const std::string& gpu) : file_(choices_file(gpu)) {
  std::error_code error;
  if (file_.empty() || !std::filesystem::exists(file_, error)) return;
  try {
    for (const auto& [product, words] : nlohmann::json::parse(read_file(file_)).items()) {
      const auto values = words.get<std::vector<uint64_t>>();
      cublasLtMatmulAlgo_t algorithm{};
      if (values.size() != std::size(algorithm.data)) continue;
      std::copy(values.begin(), values.end(), algorithm.data);
      choices_[product] = algorithm;
    }
  } catch (const std::exception&) {
    choices_.clear();  // damaged: choose anew and write it again
  }
}

std::optional<cublasLtMatmulAlgo_t> GemmChoices::find(const std::string& product) const {
  const auto found = choices_.find(product);
  return found == choices_.end() ? std::nullopt : std::optional(found->second);
}

void GemmChoices::keep(const std::string& product, const cublasLtMatmulAlgo_t& algorithm) {
  choices_[product] = algorithm;
  if (file_.empty()) return;
  nlohmann::json json;
  for (const auto& [name, choice] : choices_)
    json[name] = std::vector<uint64_t>(std::begin(choice.data), std::end(choice.data));
  try {
    std::filesystem::create_directories(file_.parent_path());
    write_file_atomically(file_, json.dump(0) + "\n");
  } catch (const std::exception&) {
    // A full disk or a read-only home must not end a training run; the choice holds until its end.
  }
}

}  // namespace moe::gpu
