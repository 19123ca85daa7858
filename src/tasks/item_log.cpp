// SPDX-License-Identifier: MIT
#include "tasks/item_log.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/lines.h"

namespace moe::tasks {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFresh = "name another file, or remove this one to begin anew";

OrderedJson to_json(Task task, Convention convention, const ItemResult& item) {
  return {{"task", name_of(task)},
          {"convention", name_of(convention)},
          {"item", item.index},
          {"right", item.right},
          {"right_norm", item.right_normalised},
          {"choice", item.choice},
          {"choice_norm", item.choice_normalised},
          {"log_likelihood", item.log_likelihood}};
}

}  // namespace

ItemLog::ItemLog(fs::path path, std::string about) : path_(std::move(path)), about_(std::move(about)) {
  std::string text = fs::exists(path_) ? read_file(path_) : std::string();
  const size_t whole = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  read(std::string_view(text).substr(0, whole));
  if (whole < text.size()) fs::resize_file(path_, whole);
  file_ = std::fopen(path_.c_str(), "a");
  if (file_ == nullptr) throw UserError(path_.string(), "a file that can be written", std::strerror(errno));
  if (whole == 0) write(OrderedJson{{"about", about_}}.dump());
}

ItemLog::~ItemLog() {
  if (file_ != nullptr) std::fclose(file_);
}

void ItemLog::read(std::string_view text) {
  size_t number = 0;
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    const std::string where = fmt::format("{}:{}", path_.string(), ++number);
    const Json parsed = parse_json(where, line, kFresh);
    const JsonFields json(where, parsed, kFresh);
    if (number == 1) {
      if (json.text("about") != about_)
        throw UserError(path_.string(), "results of " + about_, quote(json.at("about")), kFresh);
      continue;
    }
    ItemResult item;
    item.index = json.whole("item");
    item.right = json.flag("right");
    item.right_normalised = json.flag("right_norm");
    item.choice = json.whole("choice");
    item.choice_normalised = json.whole("choice_norm");
    for (const Json& value : json.list("log_likelihood")) {
      if (!value.is_number()) json.refuse("log_likelihood", "numbers", quote(value));
      item.log_likelihood.push_back(value.get<double>());
    }
    if (item.log_likelihood.empty()) json.refuse("log_likelihood", "numbers", "none");
    known_[{json.text("task"), json.text("convention"), item.index}] = item;
  }
}

void ItemLog::write(const std::string& line) {
  const bool written = std::fputs((line + "\n").c_str(), file_) >= 0 && std::fflush(file_) == 0;
  if (!written) throw UserError(path_.string(), "to be able to write", std::strerror(errno));
}

TaskSet::Record ItemLog::record() {
  return {
      [this](Task task, Convention convention, const ItemResult& item) {
        write(to_json(task, convention, item).dump());
      },
      [this](Task task, Convention convention, int64_t index) -> const ItemResult* {
        const auto found = known_.find({std::string(name_of(task)), std::string(name_of(convention)), index});
        return found == known_.end() ? nullptr : &found->second;
      }};
}

}  // namespace moe::tasks
