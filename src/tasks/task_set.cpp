// SPDX-License-Identifier: MIT
#include "tasks/task_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/random.h"
#include "data/decode.h"
#include "data/find_files.h"

namespace moe {
namespace {

constexpr int64_t kPortion = 512;  // items scored, and then recorded, at a time

// The lines that are not empty of all files at a place.
std::vector<std::string> read_lines(const std::string& place, int64_t limit,
                                    const std::filesystem::path& cache, Terminal& terminal) {
  std::vector<std::string> lines;
  FoundFiles found = find_files({place}, DataFormat::jsonl, terminal);
  for (const FoundFile& one : found.files) {
    const bool packed = is_compressed(one.file->name());
    const DataFilePtr file =
        packed ? local_file(decoded_file(*one.file, cache.empty() ? cache_folder() : cache, terminal))
               : one.file;
    const auto input = file->open_whole(terminal);
    const std::string text = input->read(0, input->size());
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      if (end > at && (limit == 0 || std::ssize(lines) < limit)) lines.push_back(text.substr(at, end - at));
      at = end + 1;
    }
  }
  if (lines.empty()) throw UserError(place, "items, one JSON object a line", "none");
  return lines;
}

}  // namespace

TaskSet::TaskSet(const std::vector<std::string>& entries, int64_t limit, const std::filesystem::path& cache,
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
    entries_.push_back({task, place, read_lines(place, limit, cache, terminal)});
    const auto& lines = entries_.back().lines;
    for (size_t i = 0; i < lines.size(); ++i) {
      // Mistakes show before anything is computed.
      for (const Convention convention : conventions_of(task))
        parse_question(task, convention, fmt::format("{}: item {}", place, i + 1), lines[i]);
      all += lines[i] + "\n";
    }
    all += std::string(name_of(task)) + "\n";
  }
  identity_ = fmt::format("{:016x}", stream_id(all));
}

std::vector<TaskSet::Measured> TaskSet::evaluate(Scorer& scorer, const Tokenizer& tokenizer,
                                                 Terminal& terminal, const Record& record) const {
  std::vector<Measured> all;
  for (const Entry& entry : entries_)
    for (const Convention convention : conventions_of(entry.task))
      all.push_back(measure(entry, convention, scorer, tokenizer, terminal, record));
  return all;
}

TaskSet::Measured TaskSet::measure(const Entry& entry, Convention convention, Scorer& scorer,
                                   const Tokenizer& tokenizer, Terminal& terminal,
                                   const Record& record) const {
  Tokenizer::Encoder encoder;
  std::vector<ItemResult> results;
  Progress progress(terminal, fmt::format("{} ({})", name_of(entry.task), name_of(convention)),
                    entry.lines.size(), "items");
  const auto count = std::ssize(entry.lines);
  for (int64_t begin = 0; begin < count; begin += kPortion) {
    std::vector<Request> requests;
    std::vector<std::pair<int64_t, Question>> asked;
    for (int64_t i = begin; i < std::min(begin + kPortion, count); ++i) {
      if (const ItemResult* known = record.known ? record.known(entry.task, convention, i) : nullptr) {
        results.push_back(*known);
        continue;
      }
      Question question =
          parse_question(entry.task, convention, fmt::format("{}: item {}", entry.place, i + 1),
                         entry.lines[static_cast<size_t>(i)]);
      for (Request& request : requests_of(question, convention, tokenizer, encoder))
        requests.push_back(std::move(request));
      asked.emplace_back(i, std::move(question));
    }
    const auto scores = scorer.score(requests, entry.task == Task::lambada);
    size_t at = 0;
    for (const auto& [index, question] : asked) {
      const size_t n = question.continuations.size();
      ItemResult result = judge(question, entry.task, convention, std::span(scores).subspan(at, n));
      at += n;
      result.index = index;
      if (record.done) record.done(entry.task, convention, result);
      results.push_back(std::move(result));
    }
    progress.add(static_cast<uint64_t>(std::min(kPortion, count - begin)));
  }
  return {entry.task, convention, count, summarise(entry.task, results)};
}

}  // namespace moe
