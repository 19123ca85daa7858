// SPDX-License-Identifier: MIT
// From data.source or data.mixture to a Source: how large the units of each file should be, and the footers
// of many files read side by side.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/start_thread.h"
#include "data/config.h"
#include "data/conversation_source.h"
#include "data/decode.h"
#include "data/filter.h"
#include "data/find_files.h"
#include "data/jsonl.h"
#include "data/parquet.h"
#include "data/source.h"
#include "data/text.h"
#include "data/token_file.h"
#include "data/weighted_source.h"
#include "net/stop_scope.h"

namespace moe::data {
namespace {

constexpr size_t kOpenAtOnce = 16;  // files whose beginning or footer is being read

// Blocks of local files that are looked at for the identity of a text, over all files.
constexpr int64_t kBlocksInAll = 1024;

// Small texts are cut into more units than data.unit_kb alone would give, so that some can be held out and
// the rest shuffled: about 64 in all, of at least 4 KiB.
int64_t unit_bytes(const std::vector<FoundFile>& files, const DataConfig& config) {
  int64_t total = 0;
  for (const FoundFile& file : files)
    if (file.format != DataFormat::parquet) total += file.file->size();
  return std::min(config.unit_kb * 1024, std::max<int64_t>(total / 64, 4096));
}

void refuse_filters(const Filters& filters, const DataFile& file) {
  if (!filters.empty())
    throw UserError("data.filters", "columns of Parquet or JSON lines",
                    fmt::format("{}, which has none", file.name()));
}

// Looks at the beginning of a text: what it is, and what a person should know of it.
void look_at_text(const DataFile& file, const DocumentRule* rule, Complaints& complaints) {
  for (const std::string& words : hints_about(text_head(*file.open()), rule))
    complaints.hint(file.name(), words);
}

std::shared_ptr<const Source> open_file(const FoundFile& found, int64_t unit, const Filters& filters,
                                        const DataConfig& config, const ConversationEncoderPtr& conversations,
                                        const std::shared_ptr<Complaints>& complaints) {
  const bool has_rows = found.format == DataFormat::jsonl || found.format == DataFormat::parquet;
  if (conversations && !has_rows)
    throw UserError(found.file->name(), "JSON lines or Parquet, which data.conversations asks for",
                    "a file of another format", "data.conversations=none for plain text");
  switch (found.format) {
    case DataFormat::text: {
      refuse_filters(filters, *found.file);
      const DocumentRule rule = DocumentRule::of(config);
      look_at_text(*found.file, &rule, *complaints);
      return text_source(found.file, rule, unit);
    }
    case DataFormat::jsonl:
      if (conversations) return conversation_lines(found.file, conversations, unit, complaints);
      look_at_text(*found.file, nullptr, *complaints);
      return jsonl_source(found.file, config.text_column, filters, unit, complaints);
    case DataFormat::parquet:
      if (conversations) return conversation_rows(found.file, conversations, complaints);
      return parquet_source(found.file, config.text_column, filters, complaints.get());
    case DataFormat::tokens:
      refuse_filters(filters, *found.file);
      return token_source(found.file, config.tokenizer.facts(), unit);
  }
  CHECK(false, "a format without a reader");
}

// Each file on one of a few threads; the error, if any, of the first file that has one.
std::vector<std::shared_ptr<const Source>> open_files(const FoundFiles& found, const DataConfig& config,
                                                      Terminal& terminal) {
  const auto& files = found.files;
  const int64_t unit = unit_bytes(files, config);
  const Filters filters = parse_filters(config.filters);
  const auto complaints = std::make_shared<Complaints>(config, terminal);
  const auto conversations =
      config.has_conversations() ? std::make_shared<ConversationEncoder>(config, terminal) : nullptr;
  std::vector<std::shared_ptr<const Source>> parts(files.size());
  std::vector<std::exception_ptr> errors(files.size());
  Progress progress(terminal, "opening files", files.size(), "files");
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  const auto work = [&, stop = net::StopScope::current()] {
    const net::StopScope scope(stop);  // of the thread that waits for all
    for (size_t i = next++; i < files.size() && !failed; i = next++) {
      try {
        parts[i] = open_file(files[i], unit, filters, config, conversations, complaints);
        progress.add(1);
      } catch (...) {
        errors[i] = std::current_exception();
        failed = true;
      }
    }
  };
  {
    std::vector<std::jthread> threads;
    threads.reserve(kOpenAtOnce);
    try {
      for (size_t i = 1; i < std::min(files.size(), kOpenAtOnce); ++i)
        threads.push_back(start_thread<std::jthread>(work));
    } catch (...) {
      failed = true;  // the others need not go on
      throw;
    }
    work();
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  if (found.remote) progress.done();
  return parts;
}

// "0.7 hf://datasets/..." of data.mixture.
std::pair<double, std::string> parse_share(const std::string& entry) {
  size_t used = 0;
  double weight = 0;
  try {
    weight = std::stod(entry, &used);
  } catch (const std::logic_error&) {
    used = 0;
  }
  const size_t place = entry.find_first_not_of(' ', used);
  if (used == 0 || place == used || place == std::string::npos || !(weight > 0) || weight > 1e9)
    throw UserError("data.mixture", "\"WEIGHT PLACE\", as in \"0.7 texts/\", with a weight above 0",
                    fmt::format("\"{}\"", entry));
  return {weight, entry.substr(place)};
}

}  // namespace

std::shared_ptr<const Source> open_source(const std::vector<std::string>& places, const DataConfig& config,
                                          Terminal& terminal, std::shared_ptr<Remote> remote) {
  if (places.empty()) throw UserError("data.source", "files or folders", "an empty list");
  if (!remote && std::any_of(places.begin(), places.end(), is_remote))
    remote = Remote::open(terminal, config);
  FoundFiles found =
      find_files(places, asked_format(config.format), terminal, std::move(remote), folder_rule(config));
  // The cache is asked for only when something needs it: a service may have no home folder.
  const auto cache = [&] {
    return config.cache_dir.empty() ? cache_folder() : std::filesystem::path(config.cache_dir);
  };
  const auto blocks =
      std::clamp<int64_t>(kBlocksInAll / std::max<int64_t>(std::ssize(found.files), 1), 1, kSampledBlocks);
  for (auto& [file, format] : found.files) {
    const DataFilePtr readable = readable_file(file, format == DataFormat::jsonl, cache, terminal, blocks);
    const bool as_it_lies = readable == file && !is_remote(file->name());
    file = as_it_lies && blocks < kSampledBlocks ? local_file(file->name(), blocks) : readable;
  }
  auto source = joined_source(open_files(found, config, terminal), found.remote);
  if (source->bytes() == 0)
    throw UserError(
        places[0], "text to train on",
        found.files.size() == 1 ? "an empty file" : fmt::format("{} files, all empty", found.files.size()));
  return source;
}

std::vector<std::string> training_places(const DataConfig& config) {
  if (config.mixture.empty()) return config.source;
  std::vector<std::string> places;
  for (const std::string& entry : config.mixture) places.push_back(parse_share(entry).second);
  return places;
}

std::shared_ptr<const Source> open_training_source(const DataConfig& config, Terminal& terminal) {
  config.require_text();
  if (config.mixture.empty()) return open_source(config.source, config, terminal);
  std::vector<std::pair<std::shared_ptr<const Source>, double>> parts;
  for (const std::string& entry : config.mixture) {
    const auto [weight, place] = parse_share(entry);
    parts.emplace_back(open_source({place}, config, terminal), weight);
  }
  return weighted_source(parts);
}

}  // namespace moe::data
