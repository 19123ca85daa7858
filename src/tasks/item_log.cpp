// SPDX-License-Identifier: MIT
#include "tasks/item_log.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/lines.h"

namespace moe {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr const char* kFresh = "name another file, or remove this one to begin anew";

Json to_json(Task task, Convention convention, const ItemResult& item) {
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
  if (whole == 0) write(Json{{"about", about_}}.dump());
}

ItemLog::~ItemLog() {
  if (file_ != nullptr) std::fclose(file_);
}

void ItemLog::read(std::string_view text) {
  size_t number = 0;
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    const std::string where = fmt::format("{}:{}", path_.string(), ++number);
    try {
      const Json json = Json::parse(line);
      if (number == 1) {
        if (json.at("about") != about_)
          throw UserError(path_.string(), "results of " + about_, json.at("about").dump(), kFresh);
      } else {
        ItemResult item;
        item.index = json.at("item").get<int64_t>();
        item.right = json.at("right").get<bool>();
        item.right_normalised = json.at("right_norm").get<bool>();
        item.choice = json.at("choice").get<int64_t>();
        item.choice_normalised = json.at("choice_norm").get<int64_t>();
        item.log_likelihood = json.at("log_likelihood").get<std::vector<double>>();
        if (item.log_likelihood.empty()) throw UserError(where, "log-likelihoods", "none", kFresh);
        known_[{json.at("task").get<std::string>(), json.at("convention").get<std::string>(), item.index}] =
            item;
      }
    } catch (const Json::exception& error) {
      throw UserError(where, "the result of an item", error.what(), kFresh);
    }
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

}  // namespace moe
