// SPDX-License-Identifier: MIT
#include "cli/plan_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "cli/hub_model.h"
#include "hub/address.h"
#include "interop/hf_config.h"
#include "model/flops.h"

namespace moe::cli {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kRow = 4096;      // tokens of a row, where the model takes more
constexpr int64_t kMicroBatch = 1;  // rows

// A plan counts ids, and reads no text.
class UnreadTokenizer : public text::Tokenizer {
 public:
  explicit UnreadTokenizer(int64_t vocabulary)
      : Tokenizer({.name = "not read",
                   .vocabulary = static_cast<text::TokenId>(vocabulary),
                   .end_of_text_name = "",
                   .padding = {}}) {}

  std::unique_ptr<Encoder> encoder() const override { CHECK(false, "a plan reads no text"); }
  std::string_view bytes(text::TokenId) const override { CHECK(false, "a plan reads no text"); }
};

struct Found {
  interop::HfModel model;
  std::string files;  // in words
};

std::string files_in_words(size_t files, uint64_t bytes) {
  return fmt::format("{} with the weights, {}", files, format_bytes(static_cast<double>(bytes)));
}

// Where there are no weights yet: what they take in the type that the settings name.
std::string expected_files(const std::string& where, const std::string& text,
                           const model::ModelConfig& model) {
  const Json json = parse_json(where, text);
  const char* const key = json.contains("dtype") ? "dtype" : "torch_dtype";
  const std::string type = json.contains(key) && json.at(key).is_string() ? json.at(key) : "float32";
  const bool two = type == "bfloat16" || type == "float16";
  const auto total = static_cast<double>(model::count_parameters(model).total);
  return fmt::format("not there; {} in {}", format_bytes(total * (two ? 2 : 4)), two ? type : "float32");
}

Found find_in_folder(const fs::path& place) {
  std::error_code ignored;
  const bool folder = fs::is_directory(place, ignored);
  const fs::path file = folder ? place / "config.json" : place;
  if (!fs::exists(file, ignored))
    throw UserError(file.string(), "config.json of a model, a folder with one, or hf://USER/NAME",
                    "no such file", "--config FILE plans settings of moe");
  if (const std::string ending = file.extension().string(); ending == ".yaml" || ending == ".yml")
    throw UserError("moe plan", "a model, or settings as section.key=value",
                    fmt::format("\"{}\"", place.string()),
                    "a file of settings is given as --config " + place.string());
  const std::string text = read_file(file);
  Found found{interop::read_hf_model(file.string(), text), ""};
  size_t files = 0;
  uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder_of(file), ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("model") || !name.ends_with(".safetensors")) continue;
    ++files;
    bytes += entry.file_size();
  }
  found.files =
      files > 0 ? files_in_words(files, bytes) : expected_files(file.string(), text, found.model.config);
  return found;
}

Found find_model(const std::string& place, Terminal& terminal) {
  if (!hub::Address::is_hub(place)) return find_in_folder(place);
  const HubModel remote(place, terminal);
  return {remote.model(), files_in_words(remote.weight_files(), remote.weight_bytes())};
}

}  // namespace

PlannedModel plan_of_model(const std::string& place, const std::vector<std::string>& overrides,
                           Terminal& terminal) {
  const Found found = find_model(place, terminal);
  const model::ModelConfig& theirs = found.model.config;
  PlannedModel planned;
  train::RunConfig& config = planned.config;
  config.model = theirs;
  config.model.max_seq_len = std::min(kRow, theirs.max_seq_len);
  config.training.batch_size = kMicroBatch;
  auto sections = config.sections();
  for (const std::string& assignment : overrides) apply_override(assignment, sections);
  config.resolve_places();
  config.data.tokenizer.name = "config.json";
  config.data.tokenizer.use(std::make_shared<const UnreadTokenizer>(config.model.vocab_size));
  config.validate();
  const auto given = [&](const char* setting) {
    return std::ranges::any_of(overrides, [&](const std::string& one) { return one.starts_with(setting); });
  };
  planned.words = fmt::format("model          {}: {} ({})\nfiles          {}\n", place,
                              found.model.family->name, found.model.family->architecture, found.files);
  if (!given("model.max_seq_len=") && config.model.max_seq_len < theirs.max_seq_len)
    planned.words += fmt::format(
        "rows           of {} tokens, of the {} that the model takes: model.max_seq_len={} plans these\n",
        config.model.max_seq_len, theirs.max_seq_len, theirs.max_seq_len);
  if (!given("training.batch_size="))
    planned.words += fmt::format("micro-batch    of {} row: training.batch_size=8 plans 8\n", kMicroBatch);
  return planned;
}

}  // namespace moe::cli
