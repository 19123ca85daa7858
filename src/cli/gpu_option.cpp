// SPDX-License-Identifier: MIT
#include "cli/gpu_option.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <sstream>
#include <vector>

#include "base/error.h"
#include "base/format.h"
#include "base/parse_number.h"

namespace moe::cli {
namespace {

[[noreturn]] void unknown(const std::string& found) {
  std::vector<std::string> names;
  for (const train::GpuRates& gpu : train::known_gpus()) names.push_back(gpu.name);
  throw UserError("--gpu",
                  fmt::format("one of: {}; or memory=24, or rates as "
                              "memory=24,tflops=165,bandwidth=1008",
                              fmt::join(names, ", ")),
                  fmt::format("\"{}\"", found), "`moe plan --help` says what each rate is");
}

}  // namespace

train::GpuRates parse_gpu(const std::string& text) {
  if (text.find('=') == std::string::npos) {
    const train::GpuRates* gpu = train::find_gpu(text);
    if (gpu == nullptr) gpu = train::find_gpu("rtx " + text);
    if (gpu == nullptr) unknown(text);
    return *gpu;
  }
  std::map<std::string, double> values{{"link", 32}, {"network", 3}, {"gpus", 8}};
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) {
    const size_t equals = part.find('=');
    const std::string key = part.substr(0, equals);
    const double value =
        equals == std::string::npos ? 0 : parse_number<double>(part.substr(equals + 1)).value_or(0);
    const bool known = key == "memory" || key == "tflops" || key == "bandwidth" || values.contains(key);
    if (!known || !(value > 0 && value < 1e9)) unknown(part);
    values[key] = value;
  }
  if (!values.contains("memory") || values.contains("tflops") != values.contains("bandwidth")) unknown(text);
  if (!values.contains("tflops"))
    return {.name = fmt::format("GPU of {:g} GiB", values["memory"]),
            .memory = values["memory"] * kGiB,
            .gpus_of_machine = std::max(1, static_cast<int>(values["gpus"]))};
  return {.name = fmt::format("GPU of {:.0f} TFLOP/s", values["tflops"]),
          .memory = values["memory"] * kGiB,
          .flops = values["tflops"] * 1e12,
          .bytes = values["bandwidth"] * 1e9,
          .link = values["link"] * 1e9,
          .network = values["network"] * 1e9,
          .gpus_of_machine = std::max(1, static_cast<int>(values["gpus"]))};
}

}  // namespace moe::cli
