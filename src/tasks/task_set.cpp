// SPDX-License-Identifier: MIT
#include "tasks/task_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/lines.h"
#include "base/progress.h"
#include "base/random.h"
#include "data/decode.h"
#include "data/file_kind.h"
#include "data/find_files.h"
#include "data/parquet_rows.h"
#include "data/remote.h"

namespace moe::tasks {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPortion = 512;  // items of a rank scored, and then recorded, at a time

// Of a file, its ending says which (JSON lines may have any); a folder is looked through for both.
std::optional<data::DataFormat> format_of(const std::string& place) {
  if (data::has_ending(place, ".parquet")) return data::DataFormat::parquet;
  const bool folder = data::is_remote(place) ? !fs::path(place).has_extension() : fs::is_directory(place);
  return folder ? std::nullopt : std::optional(data::DataFormat::jsonl);
}

// The lines that are not empty.
std::vector<std::string> lines_of(const data::DataFilePtr& file, Terminal& terminal) {
  std::vector<std::string> lines;
  const auto input = file->open_whole(terminal);
  const std::string text = input->read(0, input->size());
  for (std::string_view rest = text; !rest.empty();)
    if (const std::string_view line = take_line(rest); !line.empty()) lines.emplace_back(line);
  return lines;
}

// The items of all files at a place, each a JSON object on one line.
std::vector<std::string> read_items(Task task, const std::string& place, int64_t limit, const fs::path& cache,
                                    Terminal& terminal) {
  std::vector<std::string> items;
  const data::FoundFiles found =
      data::find_files({place}, format_of(place), terminal, nullptr, data::FolderRule::one_split);
  for (const auto& [file, format] : found.files) {
    const int64_t wanted = limit - std::ssize(items);
    if (limit > 0 && wanted == 0) break;
    if (format != data::DataFormat::jsonl && format != data::DataFormat::parquet) continue;
    const data::DataFilePtr plain = data::readable_file(
        file, format == data::DataFormat::jsonl, [&] { return cache.empty() ? cache_folder() : cache; },
        terminal);
    std::vector<std::string> more = format == data::DataFormat::parquet
                                        ? data::parquet_rows(plain, fields_of(task), limit > 0 ? wanted : 0)
                                        : lines_of(plain, terminal);
    if (limit > 0) more.resize(std::min(more.size(), static_cast<size_t>(wanted)));
    std::move(more.begin(), more.end(), std::back_inserter(items));
  }
  if (items.empty()) throw UserError(place, "items: JSON lines (one object a line) or Parquet", "none");
  return items;
}

// What ranks tell each other of an item.
void pack(const ItemResult& item, std::string& bytes) {
  const auto add = [&](auto value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
  add(item.index), add(item.choice), add(item.choice_normalised), add(item.right), add(item.right_normalised);
  add(item.log_likelihood.size());
  for (const double value : item.log_likelihood) add(value);
}

ItemResult unpack(std::string_view& bytes) {
  const auto take = [&](auto& value) {
    CHECK(bytes.size() >= sizeof(value));
    std::memcpy(&value, bytes.data(), sizeof(value));
    bytes.remove_prefix(sizeof(value));
  };
  ItemResult item;
  take(item.index), take(item.choice), take(item.choice_normalised), take(item.right);
  take(item.right_normalised);
  size_t count = 0;
  take(count);
  item.log_likelihood.resize(count);
  for (double& value : item.log_likelihood) take(value);
  return item;
}

void sort_by_index(std::vector<ItemResult>& items) {
  const auto before = [](const ItemResult& a, const ItemResult& b) { return a.index < b.index; };
  std::sort(items.begin(), items.end(), before);
}

// The items of all ranks, in order.
std::vector<ItemResult> gather(const std::vector<ItemResult>& mine, comm::Communicator& communicator) {
  std::string bytes;
  for (const ItemResult& item : mine) pack(item, bytes);
  std::vector<ItemResult> all;
  for (const std::string& of_rank : communicator.gather_text(bytes))
    for (std::string_view rest = of_rank; !rest.empty();) all.push_back(unpack(rest));
  sort_by_index(all);
  return all;
}

}  // namespace

TaskSet::TaskSet(const std::vector<std::string>& entries, int64_t limit, const fs::path& cache,
                 Terminal& terminal) {
  std::string all;
  for (const std::string& entry : entries) {
    const size_t equals = entry.find('=');
    if (equals == std::string::npos || equals + 1 == entry.size())
      throw UserError("task", "TASK=PLACE, as in hellaswag=hellaswag_val.jsonl", "\"" + entry + "\"");
    const Task task = parse_task(entry.substr(0, equals));
    for (const Entry& other : entries_)
      if (other.task == task) throw UserError("task", "each task once", entry.substr(0, equals) + " twice");
    const std::string place = entry.substr(equals + 1);
    entries_.push_back({task, place, read_items(task, place, limit, cache, terminal)});
    const auto& lines = entries_.back().lines;
    for (size_t i = 0; i < lines.size(); ++i) {
      // Mistakes show before anything is computed.
      for (const Convention convention : conventions_of(task))
        parse_question(task, convention, entries_.back().where(static_cast<int64_t>(i)), lines[i]);
      all += lines[i] + "\n";
    }
    all += std::string(name_of(task)) + "\n";
  }
  identity_ = fmt::format("{:016x}", stream_id(all));
}

std::string TaskSet::Entry::where(int64_t item) const {
  return fmt::format("{}: item {}", place, item + 1);
}

int64_t TaskSet::longest(const Entry& entry, int64_t item, const text::Tokenizer& tokenizer) {
  const auto encoder = tokenizer.encoder();
  int64_t longest = 0;
  for (const Convention convention : conventions_of(entry.task)) {
    const Question question =
        parse_question(entry.task, convention, entry.where(item), entry.lines[static_cast<size_t>(item)]);
    for (const Request& request : requests_of(question, convention, tokenizer.facts(), *encoder))
      longest = std::max(longest, request.scored);
  }
  return longest;
}

void TaskSet::leave_out_longer_than(int64_t T, const text::Tokenizer& tokenizer, Terminal& terminal) {
  for (Entry& entry : entries_) {
    std::string first;
    for (int64_t item = 0; item < std::ssize(entry.lines); ++item)
      if (const int64_t length = longest(entry, item, tokenizer); length > T) {
        if (first.empty())
          first = fmt::format("{} has {} tokens to score, and a row takes {} (model.max_seq_len)",
                              entry.where(item), length, T);
        entry.left_out.insert(item);
      }
    if (entry.left_out.size() == entry.lines.size())
      throw UserError(entry.place, fmt::format("items whose continuations have at most {} tokens", T), first);
    if (!entry.left_out.empty())
      terminal.warning(fmt::format("{}; {} of {} items are left out for that", first, entry.left_out.size(),
                                   entry.lines.size()));
  }
}

std::vector<TaskSet::Measured> TaskSet::evaluate(Scorer& scorer, const text::Tokenizer& tokenizer,
                                                 Terminal& terminal, const Record& record) const {
  std::vector<Measured> all;
  for (const Entry& entry : entries_)
    for (const Convention convention : conventions_of(entry.task))
      all.push_back(measure(entry, convention, scorer, tokenizer, terminal, record));
  return all;
}

// Item i is that of rank i mod W: all ranks get items of all lengths.
TaskSet::Measured TaskSet::measure(const Entry& entry, Convention convention, Scorer& scorer,
                                   const text::Tokenizer& tokenizer, Terminal& terminal,
                                   const Record& record) const {
  comm::Communicator& communicator = scorer.communicator();
  const int64_t ranks = communicator.size(), count = std::ssize(entry.lines);
  std::vector<ItemResult> results;
  Progress progress(terminal, fmt::format("{} ({})", name_of(entry.task), name_of(convention)),
                    entry.lines.size(), "items");
  for (int64_t begin = 0; begin < count; begin += ranks * kPortion) {
    const int64_t end = std::min(begin + ranks * kPortion, count);
    std::vector<int64_t> mine;
    for (int64_t i = begin; i < end; ++i) {
      if (entry.left_out.contains(i)) continue;
      const ItemResult* known = record.known ? record.known(entry.task, convention, i) : nullptr;
      if (known != nullptr)
        results.push_back(*known);
      else if (i % ranks == communicator.rank())
        mine.push_back(i);
    }
    for (ItemResult& result : gather(ask(entry, convention, mine, scorer, tokenizer), communicator)) {
      if (record.done) record.done(entry.task, convention, result);
      results.push_back(std::move(result));
    }
    progress.add(static_cast<uint64_t>(end - begin));
  }
  sort_by_index(results);  // means are sums: the same bits, whatever was known before
  return {entry.task, convention, std::ssize(results), summarise(entry.task, results)};
}

std::vector<ItemResult> TaskSet::ask(const Entry& entry, Convention convention,
                                     const std::vector<int64_t>& items, Scorer& scorer,
                                     const text::Tokenizer& tokenizer) {
  const auto encoder = tokenizer.encoder();
  std::vector<Request> requests;
  std::vector<Question> questions;
  for (const int64_t i : items) {
    questions.push_back(
        parse_question(entry.task, convention, entry.where(i), entry.lines[static_cast<size_t>(i)]));
    for (Request& request : requests_of(questions.back(), convention, tokenizer.facts(), *encoder))
      requests.push_back(std::move(request));
  }
  const auto scores = scorer.score(requests, entry.task == Task::lambada);
  std::vector<ItemResult> results;
  size_t at = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    const size_t n = questions[i].continuations.size();
    results.push_back(judge(questions[i], entry.task, convention, std::span(scores).subspan(at, n)));
    results.back().index = items[i];
    at += n;
  }
  return results;
}

}  // namespace moe::tasks
